//! One argument more than a function may have.

#[procession::main]
async fn main() {
    let _ = procession::spawn(
        |_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8| (),
        (1, 2, 3, 4, 5, 6, 7, 8, 9),
    );
}
