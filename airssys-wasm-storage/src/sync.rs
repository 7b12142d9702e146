//! The locks, channels and threads of this crate: those of std and tokio. With `--cfg shuttle` they are shuttle's, which runs one
//! thread at a time and lets a test choose who goes on.

#[cfg(not(shuttle))]
mod chosen {
    pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, atomic, mpsc};
    pub(crate) use std::thread;

    pub(crate) use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
}

#[cfg(shuttle)]
mod chosen {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock, atomic};
    pub(crate) use shuttle::thread;
    pub(crate) use shuttle_tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

    pub(crate) mod mpsc {
        use std::time::Duration;

        pub(crate) use shuttle::sync::mpsc::{RecvError, RecvTimeoutError, Sender, TryRecvError};

        /// As std has it: what is in the channel goes with its receiver. That of shuttle leaves it to the senders.
        #[derive(Debug)]
        pub(crate) struct Receiver<T>(shuttle::sync::mpsc::Receiver<T>);

        pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = shuttle::sync::mpsc::channel();
            (sender, Receiver(receiver))
        }

        impl<T> Receiver<T> {
            pub(crate) fn recv(&self) -> Result<T, RecvError> {
                self.0.recv()
            }

            pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
                self.0.try_recv()
            }

            pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
                self.0.recv_timeout(timeout)
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                while self.0.try_recv().is_ok() {}
            }
        }
    }
}

pub(crate) use self::chosen::*;
