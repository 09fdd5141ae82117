//! A function that makes another state than is asked for.

use procession::{Pool, StatePool};

fn open(path: String) -> Result<Vec<u8>, String> {
    Err(path)
}

#[procession::main]
async fn main() {
    let _: StatePool<String> = Pool::builder()
        .state(open, "path".to_owned())
        .build()
        .unwrap();
}
