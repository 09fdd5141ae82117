//! A closure that owns something, and cannot be copied.

#[procession::main]
async fn main() {
    let name = String::from("x");
    let _ = procession::spawn(move |x: u64| format!("{name}{x}"), 1);
}
