//! Writes a corpus for every target: objects that it accepts. Without them a fuzzer hardly gets past the headers.

#[allow(dead_code)]
mod readers;
#[allow(dead_code)]
#[path = "../tests/seal_fixtures/mod.rs"]
mod seal_fixtures;
mod valid;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (index, (target, _, bytes)) in valid::objects().into_iter().enumerate() {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("valid-{index:03}")), bytes)?;
    }
    Ok(())
}
