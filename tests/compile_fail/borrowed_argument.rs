//! An argument that borrows: in the other process there is nothing to borrow from.

fn len(text: &str) -> usize {
    text.len()
}

#[procession::main]
async fn main() {
    let _ = procession::spawn(len, "text");
}
