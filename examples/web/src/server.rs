//! The life of the server: from a listener to the last answer.

use std::io;

use tokio::net::TcpListener;

use super::site::Site;

/// Answers until `stop` resolves, finishes what has begun, and ends the workers.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Site,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let pool = site.pool.clone();
    axum::serve(listener, site.routes())
        .with_graceful_shutdown(stop)
        .await?;
    pool.shutdown().await;
    Ok(())
}
