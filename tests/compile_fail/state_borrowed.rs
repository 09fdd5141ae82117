//! A result that borrows from the state, which stays in its process.

use procession::{Pool, StatePool};

fn title(book: &mut String) -> &str {
    book
}

#[procession::main]
async fn main() {
    let books: StatePool<String> = Pool::builder().state(String::new, ()).build().unwrap();
    let _ = books.run(title, ());
}
