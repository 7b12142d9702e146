//! Streams of bytes between a guest and what is slower than memory: one piece at a time, under way while the guest goes on.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use airssys_wasm_core::error::WasmError;
use airssys_wasm_core::runtime::{Descriptor, FileRefusal, Underway, WritePosition};

use super::MAX_WRITE;

/// Where an [`Input`] reads.
pub trait Source: fmt::Debug + Send {
    /// Begins to read at most `most` bytes. None of them: it is at its end.
    fn read(&mut self, most: usize) -> Underway<Vec<u8>, FileRefusal>;
}

/// Where an [`Output`] writes.
pub trait Sink: fmt::Debug + Send {
    /// Begins to write all of `bytes`.
    fn write(&mut self, bytes: Vec<u8>) -> Underway<(), FileRefusal>;
}

/// Why a stream gives or takes nothing.
#[derive(Debug)]
pub enum Stopped {
    /// It is at its end, or has failed before.
    Closed,
    /// It has failed, and is told once.
    Failed(FileRefusal),
    /// The guest's call ends.
    Ended(WasmError),
}

/// An input stream. What was read ahead waits here, at most [`MAX_WRITE`] bytes.
#[derive(Debug)]
pub struct Input {
    source: Box<dyn Source>,
    state: Reading,
}

enum Reading {
    Idle,
    Underway(Underway<Vec<u8>, FileRefusal>),
    /// Bytes, and how many of them the guest has.
    Read(Vec<u8>, usize),
    Stopped(Stopped),
}

impl Input {
    /// A stream from `source`.
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), state: Reading::Idle }
    }

    /// Whether there is something to take: bytes, the end, or a failure. Begins to read where nothing is under way.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if matches!(self.state, Reading::Idle) {
            self.state = Reading::Underway(self.source.read(MAX_WRITE));
        }
        if let Reading::Underway(reading) = &mut self.state {
            let Poll::Ready(read) = reading.as_mut().poll(context) else { return Poll::Pending };
            self.state = match read {
                Ok(Ok(bytes)) if bytes.is_empty() => Reading::Stopped(Stopped::Closed),
                Ok(Ok(bytes)) => Reading::Read(bytes, 0),
                Ok(Err(refused)) => Reading::Stopped(Stopped::Failed(refused)),
                Err(error) => Reading::Stopped(Stopped::Ended(error)),
            };
        }
        Poll::Ready(())
    }

    /// Takes at most `most` bytes of what is there; none when there is nothing yet.
    ///
    /// # Errors
    /// The end, or what went wrong.
    pub fn take(&mut self, most: usize) -> Result<Vec<u8>, Stopped> {
        if self.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(Vec::new());
        }
        match &mut self.state {
            Reading::Read(bytes, taken) => {
                let end = taken.saturating_add(most).min(bytes.len());
                let piece = bytes[*taken..end].to_vec();
                *taken = end;
                if end == bytes.len() {
                    self.state = Reading::Idle;
                }
                Ok(piece)
            }
            Reading::Stopped(stopped) => Err(mem::replace(stopped, Stopped::Closed)),
            Reading::Idle | Reading::Underway(_) => Ok(Vec::new()),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Underway(_) => "Underway",
            Self::Read(..) => "Read",
            Self::Stopped(_) => "Stopped",
        })
    }
}

/// An output stream. It takes the next piece when the one before is written.
#[derive(Debug)]
pub struct Output {
    sink: Box<dyn Sink>,
    state: Writing,
}

enum Writing {
    Idle,
    Underway(Underway<(), FileRefusal>),
    Stopped(Stopped),
}

impl Output {
    /// A stream to `sink`.
    pub fn new(sink: impl Sink + 'static) -> Self {
        Self { sink: Box::new(sink), state: Writing::Idle }
    }

    /// Whether it takes bytes, or would tell of a failure.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Writing::Underway(writing) = &mut self.state {
            let Poll::Ready(written) = writing.as_mut().poll(context) else { return Poll::Pending };
            self.state = match written {
                Ok(Ok(())) => Writing::Idle,
                Ok(Err(refused)) => Writing::Stopped(Stopped::Failed(refused)),
                Err(error) => Writing::Stopped(Stopped::Ended(error)),
            };
        }
        Poll::Ready(())
    }

    /// How many bytes it takes now; none while others are under way.
    ///
    /// # Errors
    /// What went wrong with what was written before.
    pub fn room(&mut self) -> Result<usize, Stopped> {
        if self.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(0);
        }
        match &mut self.state {
            Writing::Stopped(stopped) => Err(mem::replace(stopped, Stopped::Closed)),
            Writing::Idle | Writing::Underway(_) => Ok(MAX_WRITE),
        }
    }

    /// Begins to write: false, and nothing is, when there was no [`room`](Self::room) for that.
    ///
    /// # Errors
    /// As [`room`](Self::room).
    pub fn write(&mut self, bytes: Vec<u8>) -> Result<bool, Stopped> {
        if bytes.len() > self.room()? {
            return Ok(false);
        }
        if !bytes.is_empty() {
            self.state = Writing::Underway(self.sink.write(bytes));
        }
        Ok(true)
    }
}

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Underway(_) => "Underway",
            Self::Stopped(_) => "Stopped",
        })
    }
}

/// A file, from a position on.
#[derive(Debug)]
pub struct FileSource {
    file: Arc<dyn Descriptor>,
    /// Where the next piece begins, as far as that is known: a piece under way is not counted.
    position: Arc<Position>,
}

/// Counts what was read.
#[derive(Debug)]
struct Position(std::sync::atomic::AtomicU64);

impl FileSource {
    /// The bytes of `file` from `offset` on.
    pub fn new(file: Arc<dyn Descriptor>, offset: u64) -> Self {
        Self { file, position: Arc::new(Position(offset.into())) }
    }
}

impl Source for FileSource {
    fn read(&mut self, most: usize) -> Underway<Vec<u8>, FileRefusal> {
        use std::sync::atomic::Ordering::Relaxed;
        let position = Arc::clone(&self.position);
        let reading = self.file.read(position.0.load(Relaxed), most);
        Box::pin(async move {
            let read = reading.await;
            if let Ok(Ok(bytes)) = &read {
                position.0.fetch_add(bytes.len() as u64, Relaxed);
            }
            read
        })
    }
}

/// A file, from a position on or at its end.
#[derive(Debug)]
pub struct FileSink {
    file: Arc<dyn Descriptor>,
    position: WritePosition,
}

impl FileSink {
    /// Writes from this position on, piece after piece.
    pub fn new(file: Arc<dyn Descriptor>, position: WritePosition) -> Self {
        Self { file, position }
    }
}

impl Sink for FileSink {
    fn write(&mut self, bytes: Vec<u8>) -> Underway<(), FileRefusal> {
        let here = self.position;
        if let WritePosition::At(offset) = &mut self.position {
            *offset = offset.saturating_add(bytes.len() as u64);
        }
        self.file.write(here, bytes)
    }
}
