//! Where a peer is: where the membership records it, where it says that it is, and where it is dialled. Pure.

/// Where a peer is, as far as this node knows. Addresses are `HOST:PORT`.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    /// Where the peer listens according to the membership; for a node that is no member, the address that it
    /// announced first.
    recorded: String,
    /// The address that the peer last announced, unless the membership has recorded it since. If it differs
    /// from the recorded address, the peer has moved.
    announced: Option<String>,
    /// Whether the next attempt tries the announced address, if there are two.
    tries_announced: bool,
    /// The address that was dialled last.
    dialled: String,
    /// The peer has said that it is elsewhere than where it was dialled last, and has not been dialled there
    /// since.
    is_untried: bool,
}

impl Whereabouts {
    /// A peer of which only this address is known.
    pub(super) fn at(address: &str) -> Whereabouts {
        Whereabouts {
            recorded: address.to_owned(),
            announced: None,
            tries_announced: true,
            dialled: address.to_owned(),
            is_untried: false,
        }
    }

    /// Where the peer says that it is.
    pub(crate) fn claimed(&self) -> &str {
        self.announced.as_ref().unwrap_or(&self.recorded)
    }

    /// The address that was dialled last.
    pub(super) fn dialled(&self) -> &str {
        &self.dialled
    }

    /// Whether the peer was last dialled where it says that it is.
    pub(super) fn is_dialled_as_claimed(&self) -> bool {
        self.dialled == self.claimed()
    }

    /// Whether the peer has said that it is elsewhere, and has not been dialled there.
    pub(super) fn is_untried(&self) -> bool {
        self.is_untried
    }

    /// Whether the peer may be at this address.
    pub(super) fn includes(&self, address: &str) -> bool {
        self.recorded == address || self.announced.as_deref() == Some(address)
    }

    /// Where to dial. A node that announces an address is there, whatever the membership records. But others
    /// could announce an address in its name, so if the announced address fails, the recorded one is tried in
    /// turn.
    pub(super) fn to_dial(&self) -> &str {
        let announced = self.announced.as_deref().filter(|_| self.tries_announced);
        announced.unwrap_or(&self.recorded)
    }

    /// The peer announces this address, which is dialled next.
    pub(super) fn announce(&mut self, address: &str) {
        let is_news = self.claimed() != address;
        self.announced = Some(address.to_owned());
        if is_news {
            self.is_untried = !self.is_dialled_as_claimed();
        }
        self.dial_as_claimed();
    }

    /// The membership records this address. Returns whether that is news.
    pub(super) fn record(&mut self, address: &str) -> bool {
        if self.recorded == address {
            return false;
        }
        // What the peer announced before it moved there is out of date.
        let is_outdated = |announced: &mut String| announced == address || *announced == self.recorded;
        self.announced.take_if(is_outdated);
        address.clone_into(&mut self.recorded);
        self.is_untried = !self.is_dialled_as_claimed();
        true
    }

    /// The peer is dialled at this address.
    pub(super) fn dial(&mut self, address: &str) {
        address.clone_into(&mut self.dialled);
        self.is_untried &= !self.is_dialled_as_claimed();
    }

    /// The next attempt tries the address where the peer says that it is.
    pub(super) fn dial_as_claimed(&mut self) {
        self.tries_announced = true;
    }

    /// An attempt has failed: the next one tries the peer's other address, if there is one. If that address
    /// became known during the attempt, it is already the next.
    pub(super) fn dial_the_other(&mut self) {
        if self.dialled == self.to_dial() {
            self.tries_announced = !self.tries_announced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_address_and_the_recorded_one_are_tried_in_turn() {
        let mut peer = Whereabouts::at("old:1");
        peer.announce("new:1");
        assert_eq!((peer.claimed(), peer.to_dial(), peer.is_untried()), ("new:1", "new:1", true));
        for (dialled, next) in [("new:1", "old:1"), ("old:1", "new:1"), ("new:1", "old:1")] {
            peer.dial(dialled);
            assert!(!peer.is_untried());
            peer.dial_the_other();
            assert_eq!(peer.to_dial(), next);
        }
        assert!(peer.includes("old:1") && peer.includes("new:1") && !peer.includes("other:1"));
    }

    #[test]
    fn an_address_that_becomes_known_during_an_attempt_is_the_next() {
        let mut peer = Whereabouts::at("old:1");
        peer.dial("old:1");
        peer.announce("new:1");
        peer.dial_the_other();
        assert_eq!(peer.to_dial(), "new:1");
    }

    #[test]
    fn what_was_announced_before_the_membership_records_a_move_is_out_of_date() {
        let mut peer = Whereabouts::at("old:1");
        for (announced, recorded, claimed) in [
            ("old:1", "new:1", "new:1"),
            ("newer:1", "newer:1", "newer:1"),
            ("third:1", "fourth:1", "third:1"),
        ] {
            peer.announce(announced);
            assert!(peer.record(recorded));
            assert!(!peer.record(recorded));
            assert_eq!(peer.claimed(), claimed);
        }
    }
}
