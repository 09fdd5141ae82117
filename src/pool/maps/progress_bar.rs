//! A progress bar of a map, with the feature `indicatif`.
//!
//! Runs in the parent, in the task that polls the map.

use indicatif::ProgressBar;

use super::map::Map;

impl<R> Map<'_, R> {
    /// Shows in `bar` how many items have finished. Needs the feature `indicatif`.
    ///
    /// The bar has the length of the input, once that is known. When all items have finished, the bar finishes as its
    /// style says. It takes the place of [`Map::on_progress`]. A map that is dropped leaves the bar as it is.
    ///
    /// ```
    /// # #[procession::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession::Pool::with_workers(2)?;
    /// let bar = indicatif::ProgressBar::hidden();
    /// pool.map(|n: u64| n * n, 0..100).progress_bar(bar.clone()).await?;
    /// assert_eq!(bar.position(), 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress_bar(self, bar: ProgressBar) -> Self {
        self.on_progress(move |done, total| {
            if let Some(total) = total {
                bar.set_length(total as u64);
            }
            bar.set_position(done as u64);
            if Some(done) == total {
                bar.finish_using_style();
            }
        })
    }
}
