//! The mistakes that the simulation and the model must find are patches of the program. One that no longer
//! applies would show nothing, and is found here, not only when somebody tries them all.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_mistake_that_must_be_found_can_be_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut applied = 0;
    for of in ["sim/mutants", "model/mutants"] {
        for file in fs::read_dir(root.join(of)).expect("the directory is part of the program") {
            let patch = file.expect("it can be listed").path();
            let git = ["apply", "--check", "-p1"];
            let checked = Command::new("git").current_dir(root).args(git).arg(&patch).output();
            let checked = checked.expect("git(1), which the program is kept in, is installed");
            let said = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{}: {said}", patch.display());
            applied += 1;
        }
    }
    assert!(applied > 50, "only {applied} patches are there");
}
