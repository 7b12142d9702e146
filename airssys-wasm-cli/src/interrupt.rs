//! Ctrl-C and SIGTERM: the first one asks for an orderly end, the second one for an immediate one.

use std::future;

use tokio::sync::watch;

/// Counts the requests to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// Listens from now on, in a task of its own.
    pub(crate) fn listen() -> Self {
        let (count, receiver) = watch::channel(0);
        tokio::spawn(listen(move || count.send_modify(|count| *count += 1)));
        Self(receiver)
    }

    /// Returns when there were this many requests in all.
    pub(crate) async fn reached(&self, times: u32) {
        if self.0.clone().wait_for(|count| *count >= times).await.is_err() {
            // Nobody listens: the system gives no signals. Nobody is ever asked to end, then.
            future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
async fn listen(requested: impl Fn()) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            Some(()) = interrupt.recv() => requested(),
            Some(()) = terminate.recv() => requested(),
            else => return,
        }
    }
}

#[cfg(not(unix))]
async fn listen(requested: impl Fn()) {
    while tokio::signal::ctrl_c().await.is_ok() {
        requested();
    }
}
