//! What is refused beside this differs from it in one thing each.

fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[procession::main]
async fn main() {
    assert_eq!(procession::spawn(add, (1, 2)).await.unwrap(), 3);
    assert_eq!(procession::spawn(|x: u64| x + 1, 2).await.unwrap(), 3);
    let words: procession::StatePool<String> = procession::Pool::builder()
        .workers(1)
        .state(|path: String| Ok::<_, String>(path), "word".to_owned())
        .build()
        .unwrap();
    let has = words.run(|word: &mut String, other: String| word.contains(&other), "or".to_owned());
    assert!(has.await.unwrap());
}
