//! A function for a pool with a state that does not take the state.

use procession::{Pool, StatePool};

fn pages(book: u32) -> u32 {
    book
}

#[procession::main]
async fn main() {
    let books: StatePool<String> = Pool::builder().state(String::new, ()).build().unwrap();
    let _ = books.run(pages, 1);
}
