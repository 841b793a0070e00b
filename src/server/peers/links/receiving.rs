//! What arrives on a link: the answer to its Hello, then the peer's responses, also to pings, and what else
//! it has to say if it cannot dial.

use std::fmt::Display;

use crate::node::Input;
use crate::peer::Frame;
use crate::server::context::Context;
use crate::server::counters::Counters;
use crate::server::limits::PEER_READS_PER_TURN_MAX;
use crate::server::peers::links::{LinkState, Links};
use crate::server::sockets::ReadOutcome;

impl Links {
    /// Reads everything that has arrived, up to a bound for each link.
    pub(crate) fn serve(&mut self, ctx: &mut Context) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for key in 0..self.links.capacity() {
            for _ in 0..PEER_READS_PER_TURN_MAX {
                if !self.read(ctx, key, &mut buffer) {
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// Whether there is work left for the next turn.
    pub(crate) fn has_work(&self) -> bool {
        self.links.iter().any(|(_, link)| link.channel().is_some_and(|channel| channel.is_readable()))
    }

    /// Reads once, if there may be something to read. Returns whether there was.
    fn read(&mut self, ctx: &mut Context, key: usize, buffer: &mut [u8]) -> bool {
        let Some(channel) = self.channel_mut(key).filter(|channel| channel.is_readable()) else {
            return false;
        };
        match channel.read(buffer, &mut ctx.counters) {
            ReadOutcome::Bytes(n) => {
                // The process may have been stopped since the turn began.
                ctx.tick();
                self.on_bytes(ctx, key, &buffer[..n]);
                true
            }
            ReadOutcome::NotNow => false,
            ReadOutcome::End => {
                self.on_lost(ctx, key, &"the other side closed it");
                false
            }
            ReadOutcome::Broken(error) => {
                self.on_lost(ctx, key, &error);
                false
            }
        }
    }

    fn on_bytes(&mut self, ctx: &mut Context, key: usize, bytes: &[u8]) {
        let mut input = bytes;
        // What a frame leads to may have closed the connection.
        while let Some(channel) = self.channel_mut(key) {
            match channel.next_frame(&mut input, ctx.now()) {
                Ok(None) => return,
                Ok(Some(frame)) => self.on_frame(ctx, key, frame),
                Err(error) => {
                    ctx.counters.count_bad_frame(error.label());
                    return self.on_lost(ctx, key, &error);
                }
            }
        }
    }

    fn on_frame(&mut self, ctx: &mut Context, key: usize, frame: Frame) {
        let link = &mut self.links[key];
        match (&mut link.state, frame) {
            (LinkState::Up { answered_at, .. }, Frame::Ping) => *answered_at = ctx.now(),
            (LinkState::Up { answered_at, .. }, Frame::Message(message)) => {
                *answered_at = ctx.now();
                let from = link.peer;
                log::trace!("from node {from}: {message:?}");
                link.last_heard = Some(ctx.now());
                if !message.is_response() {
                    link.asked_at = Some(ctx.now());
                }
                ctx.counters.messages_received += 1;
                ctx.step(Input::Message { from, message });
            }
            (LinkState::Greeting { .. }, Frame::Welcome(_)) => self.on_welcome(ctx, key),
            (LinkState::Greeting { .. }, Frame::Refuse(refuse)) => self.on_refuse(ctx, key, refuse),
            (
                LinkState::Waiting { .. }
                | LinkState::Resolving { .. }
                | LinkState::Connecting { .. }
                | LinkState::Greeting { .. }
                | LinkState::Up { .. },
                Frame::Hello(_)
                | Frame::Welcome(_)
                | Frame::Refuse(_)
                | Frame::Ping
                | Frame::Message(_)
                | Frame::AdminRequest(_)
                | Frame::AdminResponse(_),
            ) => {
                ctx.counters.count_bad_frame(Counters::UNEXPECTED);
                self.on_lost(ctx, key, &"the other side sent an unexpected frame");
            }
        }
    }

    /// The connection of this link is of no more use.
    pub(super) fn on_lost(&mut self, ctx: &mut Context, key: usize, reason: &dyn Display) {
        match self.links[key].state {
            LinkState::Up { .. } => self.on_broken(ctx, key, reason),
            LinkState::Greeting { .. } => self.on_greeting_failed(ctx, key, reason),
            LinkState::Waiting { .. } | LinkState::Resolving { .. } | LinkState::Connecting { .. } => {}
        }
    }
}
