//! Runs the checks of the fuzz targets on every file of their corpora: seeds, and everything found once.

use std::io;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
pub mod checks;

#[test]
fn every_file_of_the_corpus_of_peer_codec_passes() -> io::Result<()> {
    check_all("peer_codec", checks::peer_codec::check)
}

#[test]
fn every_file_of_the_corpus_of_codec_values_passes() -> io::Result<()> {
    check_all("codec_values", checks::codec_values::check)
}

#[test]
fn every_file_of_the_corpus_of_http_connection_passes() -> io::Result<()> {
    check_all("http_connection", checks::http_connection::check)
}

#[test]
fn every_file_of_the_corpus_of_cli_addresses_passes() -> io::Result<()> {
    check_all("cli_addresses", checks::cli_addresses::check)
}

#[test]
fn every_file_of_the_corpus_of_core_step_passes() -> io::Result<()> {
    check_all("core_step", checks::core_step::check)
}

#[test]
fn every_file_of_the_corpus_of_node_step_passes() -> io::Result<()> {
    check_all("node_step", checks::node_step::check)
}

#[test]
fn every_file_of_the_corpus_of_store_passes() -> io::Result<()> {
    check_all("store", checks::store::check)
}

#[test]
fn every_file_of_the_corpus_of_store_records_passes() -> io::Result<()> {
    check_all("store_records", checks::store_records::check)
}

#[test]
fn every_file_of_the_corpus_of_journal_passes() -> io::Result<()> {
    check_all("journal", checks::journal::check)
}

fn check_all(target: &str, check: fn(&[u8])) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut checked = 0;
    for file in std::fs::read_dir(&directory)? {
        let path = file?.path();
        // Shown only if the check fails.
        println!("{}", path.display());
        check(&std::fs::read(&path)?);
        checked += 1;
    }
    assert!(checked > 0, "no corpus in {}", directory.display());
    Ok(())
}
