//! Whatever the bytes and however they are cut: the same answers, each of them valid, and never a panic.
//!
//! A connection that is fed byte by byte never has a whole head at the front of its input, so it never
//! recognises a repeated request. One that is fed everything at once does so for each repetition. That both
//! give the same answers shows that recognising a request does not change its meaning.

use raft_core::SplitMix64;
use ticketd::http::Config;

use crate::harness::{Answers, Content, Server, answers, check_ids, run};
use crate::{PLAIN, all_rows};

struct Random(SplitMix64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).expect("it is below a usize")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What a mutation inserts: bytes and words that matter to the rules.
const WORDS: [&[u8]; 28] = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b"0",
    b"5",
    b"/",
    b"?n=2",
    b"HTTP/1.1",
    b"POST ",
    b"HEAD ",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: a\r\n",
    b"chunked",
    b"\x80",
    b"0\r\n\r\n",
];

fn mutate(random: &mut Random, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(12)).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 => drop(input.drain(at..end)),
        2 => {
            let word = *random.pick(&WORDS);
            input.splice(at..at, word.iter().copied());
        }
        3 => {
            let word = *random.pick(&WORDS);
            input.splice(at..end, word.iter().copied());
        }
        4 => {
            let repeated = input[at..end].to_vec();
            input.splice(at..at, repeated);
        }
        5 => {
            let other = random.pick(seeds);
            let from = random.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.truncate(at),
    }
}

fn random_pieces<'a>(random: &mut Random, mut input: &'a [u8]) -> Vec<&'a [u8]> {
    let longest = 1 + random.below(60);
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let (piece, rest) = input.split_at((1 + random.below(longest)).min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

/// Answers to HEAD and to other methods cannot be told apart, so those inputs are only compared.
fn check(whole: &crate::harness::Transcript, input: &[u8]) {
    if !input.windows(5).any(|window| window == b"HEAD ") {
        answers(whole, Content::Sent);
        check_ids(whole);
    }
}

#[test]
fn mutated_requests_give_the_same_answers_however_they_are_cut() {
    let config = Config { pipeline_max: 5, output_bytes_max: 1000, ..Config::default() };
    let seeds: Vec<Vec<u8>> =
        all_rows().into_iter().map(|row| row.input).filter(|input| input.len() < 600).collect();
    let mut granted = 0;
    for seed in 1..=4000u64 {
        let mut random = Random(SplitMix64::new(seed));
        let mut input = Vec::new();
        for _ in 0..=random.below(6) {
            let plain = random.below(4) > 0;
            input.extend_from_slice(if plain { PLAIN } else { random.pick::<Vec<u8>>(&seeds) });
        }
        for _ in 0..random.below(4) {
            mutate(&mut random, &mut input, &seeds);
        }
        let whole = run(&config, Server::Leads, Answers::AtOnce, &[&input]);
        check(&whole, &input);
        granted += whole.requests.len();
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        let pieces = random_pieces(&mut random, &input);
        for (cut, answers) in [
            (&bytes, Answers::AtOnce),
            (&pieces, Answers::AtOnce),
            (&pieces, Answers::Late),
            (&vec![&input[..]], Answers::Late),
        ] {
            let other = run(&config, Server::Leads, answers, cut);
            assert_eq!(other, whole, "seed {seed}, {answers:?}: {}", String::from_utf8_lossy(&input));
        }
    }
    assert!(granted > 4000, "mutations leave only {granted} requests to be granted");
}

#[test]
fn repetitions_of_a_request_cut_anywhere_are_each_answered() {
    let config = Config::default();
    let seeds: Vec<Vec<u8>> =
        all_rows().into_iter().filter(|row| row.expected == "200 #").map(|row| row.input).collect();
    for seed in 1..=500u64 {
        let mut random = Random(SplitMix64::new(seed));
        let times = 2 + random.below(40);
        let input = random.pick(&seeds).repeat(times);
        let pieces = random_pieces(&mut random, &input);
        let transcript = run(&config, Server::Leads, Answers::AtOnce, &pieces);
        assert_eq!(transcript.requests.len(), times, "seed {seed}");
        check_ids(&transcript);
    }
}
