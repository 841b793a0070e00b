//! How many clients there may be at once, and what happens to those beyond that. Pure.

use crate::http::Serves;
use crate::server::sockets::descriptors::Allotment;

/// The kind of place that one connection takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Client,
    /// At a listener that serves only pages.
    Page,
    /// It came beyond the maximum, and gets time to read the refusal.
    Refused,
}

/// How many places of each kind are taken, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Occupancy {
    clients: usize,
    pub(crate) clients_max: usize,
    pages: usize,
    pub(super) pages_max: usize,
    refused: usize,
    refused_max: usize,
}

impl Occupancy {
    pub(crate) fn new(allotment: &Allotment) -> Occupancy {
        Occupancy {
            clients: 0,
            clients_max: allotment.clients,
            pages: 0,
            pages_max: allotment.pages,
            refused: 0,
            refused_max: allotment.refused,
        }
    }

    /// How many places there are, taken or not.
    pub(crate) fn places(&self) -> usize {
        self.clients_max + self.pages_max + self.refused_max
    }

    /// The place that a new connection gets; `None` if there is no place even for a refusal.
    pub(crate) fn place_for(&self, serves: Serves) -> Option<Place> {
        let (own, free) = match serves {
            Serves::Everything | Serves::IdsOnly => (Place::Client, self.clients < self.clients_max),
            Serves::PagesOnly => (Place::Page, self.pages < self.pages_max),
        };
        let refusal = (self.refused < self.refused_max).then_some(Place::Refused);
        if free { Some(own) } else { refusal }
    }

    pub(crate) fn take(&mut self, place: Place) {
        *self.count_of(place) += 1;
    }

    pub(crate) fn give_back(&mut self, place: Place) {
        *self.count_of(place) -= 1;
    }

    fn count_of(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Client => &mut self.clients,
            Place::Page => &mut self.pages,
            Place::Refused => &mut self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_beyond_the_bound_are_told_so_and_never_take_the_places_of_pages() {
        let (clients_max, pages_max, refused_max) = (2, 3, 4);
        let mut occupancy =
            Occupancy { clients: 0, clients_max, pages: 0, pages_max, refused: 0, refused_max };
        let mut take = |serves| {
            let place = occupancy.place_for(serves);
            place.into_iter().for_each(|place| occupancy.take(place));
            place
        };
        assert_eq!(take(Serves::Everything), Some(Place::Client));
        assert_eq!(take(Serves::IdsOnly), Some(Place::Client));
        for _ in 0..refused_max {
            assert_eq!(take(Serves::IdsOnly), Some(Place::Refused));
        }
        assert_eq!(take(Serves::Everything), None);
        for _ in 0..pages_max {
            assert_eq!(take(Serves::PagesOnly), Some(Place::Page));
        }
        assert_eq!(take(Serves::PagesOnly), None);
        occupancy.give_back(Place::Refused);
        assert_eq!(occupancy.place_for(Serves::Everything), Some(Place::Refused));
        occupancy.give_back(Place::Client);
        assert_eq!(occupancy.place_for(Serves::Everything), Some(Place::Client));
    }
}
