//! A closure over a state that captures.

use procession::{Managed, Pool, StatePool};

#[procession::main]
async fn main() {
    let word = String::from("word");
    let books: StatePool<String> = Pool::builder().state(String::new, ()).build().unwrap();
    let _ = books.run(move |book: &mut String| book.contains(&word), ());
    let book: Managed<String> = Managed::spawn(String::new, ()).await.unwrap();
    let page = String::from("page");
    let _ = book.call(move |book, ()| book.contains(&page), ());
}
