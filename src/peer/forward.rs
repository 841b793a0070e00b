//! The bytes of what nodes send to each other about forwarded requests.
//!
//! This module must never know what a node does with them: the node decides whether it still awaits a
//! response.

use super::frame_type;
use crate::codec::{DecodeError, Reader, Writer};
use crate::node::{Forward, ForwardOutcome, SequenceNumber};

pub(super) const fn type_of(message: &Forward) -> u8 {
    match message {
        Forward::TakeIds { .. } => frame_type::TAKE_IDS,
        Forward::TakeIdsResponse { .. } => frame_type::TAKE_IDS_RESPONSE,
    }
}

pub(super) fn put(message: &Forward, out: &mut Vec<u8>) {
    match message {
        Forward::TakeIds { sequence, count, still_awaited } => {
            out.put_u64(sequence.0);
            out.put_u64(count.get());
            out.put_u8(*still_awaited);
        }
        Forward::TakeIdsResponse { sequence, outcome } => {
            out.put_u64(sequence.0);
            put_outcome(*outcome, out);
        }
    }
}

pub(super) fn read_take_ids(reader: &mut Reader<'_>) -> Result<Forward, DecodeError> {
    let sequence = SequenceNumber(reader.u64()?);
    Ok(Forward::TakeIds { sequence, count: reader.count()?, still_awaited: reader.u8()? })
}

pub(super) fn read_take_ids_response(reader: &mut Reader<'_>) -> Result<Forward, DecodeError> {
    Ok(Forward::TakeIdsResponse { sequence: SequenceNumber(reader.u64()?), outcome: read_outcome(reader)? })
}

const OUTCOME_IDS: u8 = 1;
const OUTCOME_NOT_LEADER: u8 = 2;
const OUTCOME_TIMED_OUT: u8 = 3;
const OUTCOME_OVERLOADED: u8 = 4;
const OUTCOME_EXHAUSTED: u8 = 5;

fn put_outcome(outcome: ForwardOutcome, out: &mut Vec<u8>) {
    match outcome {
        ForwardOutcome::Ids { first, count } => {
            out.put_u8(OUTCOME_IDS);
            out.put_u64(first);
            out.put_u64(count.get());
        }
        ForwardOutcome::NotLeader => out.put_u8(OUTCOME_NOT_LEADER),
        ForwardOutcome::TimedOut => out.put_u8(OUTCOME_TIMED_OUT),
        ForwardOutcome::Overloaded => out.put_u8(OUTCOME_OVERLOADED),
        ForwardOutcome::Exhausted => out.put_u8(OUTCOME_EXHAUSTED),
    }
}

fn read_outcome(reader: &mut Reader<'_>) -> Result<ForwardOutcome, DecodeError> {
    match reader.u8()? {
        OUTCOME_IDS => Ok(ForwardOutcome::Ids { first: reader.id()?, count: reader.count()? }),
        OUTCOME_NOT_LEADER => Ok(ForwardOutcome::NotLeader),
        OUTCOME_TIMED_OUT => Ok(ForwardOutcome::TimedOut),
        OUTCOME_OVERLOADED => Ok(ForwardOutcome::Overloaded),
        OUTCOME_EXHAUSTED => Ok(ForwardOutcome::Exhausted),
        other => Err(DecodeError::UnknownKind(other)),
    }
}
