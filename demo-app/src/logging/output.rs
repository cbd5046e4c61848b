//! A writer that never waits and never fails, and counts the lines it drops.
//!
//! `tracing-appender` has a non-blocking writer, but does not count lines whose write failed. It
//! bounds its queue in lines, not bytes. At the end it prints to standard output, which waits or
//! panics if that pipe is the broken one.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use super::DROPPED;

/// The maximum size of one write.
const BATCH: usize = 64 * 1024;

/// The cost of a queued line besides its bytes.
const OVERHEAD: usize = 64;

/// The longest time between two calls of `tick` while nothing is written.
const TICK: Duration = Duration::from_secs(1);

/// The pause before a retry when a non-blocking standard error is full.
const RETRY: Duration = Duration::from_millis(10);

/// Queues lines for the writing thread. All clones share one queue.
#[derive(Clone)]
pub(super) struct Output {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when every line queued before it was written or dropped.
    Flush(Sender<()>),
}

struct Shared {
    limit: usize,
    /// The bytes that are queued or being written.
    queued: AtomicUsize,
    dropped: AtomicU64,
}

impl Shared {
    fn drop_lines(&self, lines: u64) {
        let dropped = self.dropped.fetch_add(lines, Ordering::Relaxed) + lines;
        // Sets the total: lines dropped before the recorder existed are included.
        metrics::counter!(DROPPED).absolute(dropped);
    }
}

impl Output {
    /// Starts the thread that writes the queue to `out`; the queue holds up to `limit` bytes.
    /// `lost` gets the number of lost lines once lines can be written again. `tick` is called about
    /// once a second, unless a write takes longer. Both run on the writing thread and may log.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        limit: usize,
        lost: impl FnMut(u64) + Send + 'static,
        tick: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { limit, queued: AtomicUsize::new(0), dropped: AtomicU64::new(0) });
        let (queue, lines) = mpsc::channel();
        let worker = Worker { out, shared: Arc::clone(&shared), torn: false, reported: 0, lost };
        thread::Builder::new().name("log".into()).spawn(move || worker.run(&lines, tick))?;
        Ok(Self { queue, shared })
    }

    /// Waits until everything queued is written or dropped, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, written) = mpsc::channel();
        if self.queue.send(Message::Flush(done)).is_ok() {
            // On a timeout the rest is lost with the process.
            let _ = written.recv_timeout(limit);
        }
    }

    #[cfg(test)]
    fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Write for &Output {
    /// Accepts one line and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let size = line.len() + OVERHEAD;
        let queued = self.shared.queued.fetch_add(size, Ordering::Relaxed) + size;
        if queued > self.shared.limit || self.queue.send(Message::Line(line.to_vec())).is_err() {
            self.shared.queued.fetch_sub(size, Ordering::Relaxed);
            self.shared.drop_lines(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

struct Worker<W, L> {
    out: W,
    shared: Arc<Shared>,
    /// Whether the output ends in the middle of a line.
    torn: bool,
    /// The number of dropped lines already reported.
    reported: u64,
    lost: L,
}

/// The lines of one write.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The end of each line in `bytes`.
    ends: Vec<usize>,
}

impl Batch {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }
}

impl<W: Write, L: FnMut(u64)> Worker<W, L> {
    /// Runs until all senders are dropped.
    fn run(mut self, queue: &Receiver<Message>, mut tick: impl FnMut()) {
        let mut ticked = Instant::now();
        loop {
            match queue.recv_timeout(TICK) {
                Ok(message) => self.work(Some(message), queue),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                tick();
            }
        }
    }

    /// Writes everything that is queued.
    fn work(&mut self, mut first: Option<Message>, queue: &Receiver<Message>) {
        let mut flushed = Vec::new();
        loop {
            let mut batch = Batch::default();
            while batch.bytes.len() < BATCH {
                match first.take().or_else(|| queue.try_recv().ok()) {
                    Some(Message::Line(line)) => batch.push(&line),
                    Some(Message::Flush(done)) => flushed.push(done),
                    None => break,
                }
            }
            if batch.ends.is_empty() {
                break;
            }
            self.write(&batch);
        }
        for done in flushed {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }

    fn write(&mut self, batch: &Batch) {
        if self.torn && self.write_all(b"\n") == 1 {
            self.torn = false;
        }
        let written = if self.torn { 0 } else { self.write_all(&batch.bytes) };
        let whole = batch.ends.partition_point(|&end| end <= written);
        let missing = batch.ends.len() - whole;
        self.torn |= written > whole.checked_sub(1).map_or(0, |last| batch.ends[last]);
        self.shared.queued.fetch_sub(batch.bytes.len() + OVERHEAD * batch.ends.len(), Ordering::Relaxed);
        if missing > 0 {
            self.shared.drop_lines(u64::try_from(missing).unwrap_or(u64::MAX));
        } else if self.shared.queued.load(Ordering::Relaxed) <= self.shared.limit / 2 {
            // There is room for one more line.
            self.report();
        }
    }

    fn report(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let lines = dropped - self.reported;
        if lines > 0 {
            self.reported = dropped;
            (self.lost)(lines);
        }
    }

    /// Returns the number of bytes written, fewer than all after an error.
    fn write_all(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Stays non-blocking: the setting is shared with other processes on the same file.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::SyncSender};

    use super::*;

    /// The bytes written so far, and the results of the next writes.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<Written>>);

    #[derive(Default)]
    struct Written {
        bytes: Vec<u8>,
        /// The last element is the next result.
        next: Vec<io::Result<usize>>,
    }

    impl Disk {
        fn with(next: impl IntoIterator<Item = io::Result<usize>>) -> Self {
            let mut next: Vec<_> = next.into_iter().collect();
            next.reverse();
            Self(Arc::new(Mutex::new(Written { bytes: Vec::new(), next })))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock().unwrap();
            let taken = written.next.pop().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            written.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Blocks each write until the test lets it go on.
    struct Gate {
        writes: SyncSender<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.send(()).map_err(io::Error::other)?;
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LIMIT: Duration = Duration::from_secs(30);

    fn full() -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn line(output: &Output, text: &str) {
        let mut output = output;
        output.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn log_output_counts_what_a_full_disk_refused_and_says_so_when_there_is_room() {
        let disk = Disk::with([full(), full()]);
        let (lost, told) = mpsc::channel();
        let output = Output::start(disk.clone(), QUEUE, move |lines| lost.send(lines).unwrap(), || ()).unwrap();
        for number in 1..=2 {
            line(&output, "lost\n");
            output.flush(LIMIT);
            assert_eq!(output.dropped(), number);
        }
        assert!(told.try_recv().is_err(), "not before something can be written");
        line(&output, "kept\n");
        output.flush(LIMIT);
        assert_eq!((disk.text().as_str(), told.try_recv(), output.dropped()), ("kept\n", Ok(2), 2));
        line(&output, "kept too\n");
        output.flush(LIMIT);
        assert!(told.try_recv().is_err(), "said once");
    }

    #[test]
    fn log_output_begins_a_line_anew_after_half_a_line() {
        let disk = Disk::with([Ok(4), full(), full()]);
        let output = Output::start(disk.clone(), QUEUE, |_| (), || ()).unwrap();
        for text in ["first\n", "second\n", "third\n"] {
            line(&output, text);
            output.flush(LIMIT);
        }
        assert_eq!((disk.text().as_str(), output.dropped()), ("firs\nthird\n", 2));
    }

    #[test]
    fn log_output_waits_for_one_that_would_block_and_goes_on_after_a_signal() {
        let disk = Disk::with([Err(io::ErrorKind::WouldBlock.into()), Err(io::ErrorKind::Interrupted.into()), Ok(2)]);
        let output = Output::start(disk.clone(), QUEUE, |_| (), || ()).unwrap();
        line(&output, "whole\n");
        output.flush(LIMIT);
        assert_eq!((disk.text().as_str(), output.dropped()), ("whole\n", 0));
    }

    #[test]
    fn log_output_holds_so_many_bytes_and_drops_what_is_more() {
        let (writes, write) = mpsc::sync_channel(0);
        let (written, text) = mpsc::channel();
        let (lost, told) = mpsc::channel();
        let limit = 4 * (OVERHEAD + 2);
        let output =
            Output::start(Gate { writes, written }, limit, move |lines| lost.send(lines).unwrap(), || ()).unwrap();
        for _ in 0..10 {
            line(&output, "1\n");
        }
        assert_eq!(output.dropped(), 6);
        output.flush(Duration::from_millis(1));
        line(&output, "2\n");
        assert_eq!(output.dropped(), 7, "and the end of the program did not wait for ever");
        let mut lines = 0;
        while lines < 4 {
            write.recv_timeout(LIMIT).unwrap();
            lines += text.recv_timeout(LIMIT).unwrap().len() / 2;
        }
        assert_eq!(told.recv_timeout(LIMIT), Ok(7));
    }

    #[test]
    fn log_output_lets_others_work_about_once_a_second() {
        let (tick, ticked) = mpsc::channel();
        let _output = Output::start(io::sink(), QUEUE, |_| (), move || tick.send(()).unwrap_or(())).unwrap();
        ticked.recv_timeout(LIMIT).unwrap();
        ticked.recv_timeout(LIMIT).unwrap();
    }

    const QUEUE: usize = 1024 * 1024;
}
