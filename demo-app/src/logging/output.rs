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
    state: Arc<QueueState>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when every line queued before it was written or dropped.
    Flush(Sender<()>),
}

struct QueueState {
    limit: usize,
    /// The bytes that are queued or being written.
    queued: AtomicUsize,
    dropped: AtomicU64,
}

impl QueueState {
    fn count_dropped(&self, lines: u64) {
        let dropped = self.dropped.fetch_add(lines, Ordering::Relaxed) + lines;
        // Sets the total: lines dropped before the recorder existed are included.
        metrics::counter!(DROPPED).absolute(dropped);
    }
}

impl Output {
    /// Starts the thread that writes the queue to `out`; the queue holds up to `limit` bytes.
    /// `report_lost` gets the number of lost lines once lines can be written again. `tick` is
    /// called about once a second, unless a write takes longer. Both run on the writing thread and
    /// may log.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        limit: usize,
        report_lost: impl FnMut(u64) + Send + 'static,
        tick: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let state = Arc::new(QueueState { limit, queued: AtomicUsize::new(0), dropped: AtomicU64::new(0) });
        let (queue, lines) = mpsc::channel();
        let worker = Worker { out, state: Arc::clone(&state), ends_mid_line: false, reported: 0, report_lost };
        thread::Builder::new().name("log".into()).spawn(move || worker.run(&lines, tick))?;
        Ok(Self { queue, state })
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
        self.state.dropped.load(Ordering::Relaxed)
    }
}

impl Write for &Output {
    /// Accepts one line and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let size = line.len() + OVERHEAD;
        let queued = self.state.queued.fetch_add(size, Ordering::Relaxed) + size;
        if queued > self.state.limit || self.queue.send(Message::Line(line.to_vec())).is_err() {
            self.state.queued.fetch_sub(size, Ordering::Relaxed);
            self.state.count_dropped(1);
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
    state: Arc<QueueState>,
    /// Whether the output ends in the middle of a line.
    ends_mid_line: bool,
    /// The number of dropped lines already reported.
    reported: u64,
    report_lost: L,
}

/// The lines of one write.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The end of each line in `bytes`.
    line_ends: Vec<usize>,
}

impl Batch {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.line_ends.push(self.bytes.len());
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
            if batch.line_ends.is_empty() {
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
        if self.ends_mid_line && self.write_all(b"\n") == 1 {
            self.ends_mid_line = false;
        }
        let written = if self.ends_mid_line { 0 } else { self.write_all(&batch.bytes) };
        let whole_lines = batch.line_ends.partition_point(|&end| end <= written);
        let missing_lines = batch.line_ends.len() - whole_lines;
        self.ends_mid_line |= written > whole_lines.checked_sub(1).map_or(0, |last| batch.line_ends[last]);
        self.state.queued.fetch_sub(batch.bytes.len() + OVERHEAD * batch.line_ends.len(), Ordering::Relaxed);
        if missing_lines > 0 {
            self.state.count_dropped(u64::try_from(missing_lines).unwrap_or(u64::MAX));
        } else if self.state.queued.load(Ordering::Relaxed) <= self.state.limit / 2 {
            // There is room for one more line.
            self.report();
        }
    }

    fn report(&mut self) {
        let dropped = self.state.dropped.load(Ordering::Relaxed);
        let lines = dropped - self.reported;
        if lines > 0 {
            self.reported = dropped;
            (self.report_lost)(lines);
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
    struct ScriptedWriter(Arc<Mutex<WriterScript>>);

    #[derive(Default)]
    struct WriterScript {
        bytes: Vec<u8>,
        /// The last element is the next result.
        next: Vec<io::Result<usize>>,
    }

    impl ScriptedWriter {
        fn with(next: impl IntoIterator<Item = io::Result<usize>>) -> Self {
            let mut next: Vec<_> = next.into_iter().collect();
            next.reverse();
            Self(Arc::new(Mutex::new(WriterScript { bytes: Vec::new(), next })))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
        }
    }

    impl Write for ScriptedWriter {
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
    struct BlockingWriter {
        writes: SyncSender<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for BlockingWriter {
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

    fn disk_full() -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn write_line(output: &Output, text: &str) {
        let mut output = output;
        output.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn log_output_counts_and_reports_lines_dropped_by_full_disk() {
        let writer = ScriptedWriter::with([disk_full(), disk_full()]);
        let (lost, reports) = mpsc::channel();
        let output = Output::start(writer.clone(), QUEUE, move |lines| lost.send(lines).unwrap(), || ()).unwrap();
        for number in 1..=2 {
            write_line(&output, "lost\n");
            output.flush(LIMIT);
            assert_eq!(output.dropped(), number);
        }
        assert!(reports.try_recv().is_err(), "not before something can be written");
        write_line(&output, "kept\n");
        output.flush(LIMIT);
        assert_eq!((writer.text().as_str(), reports.try_recv(), output.dropped()), ("kept\n", Ok(2), 2));
        write_line(&output, "kept too\n");
        output.flush(LIMIT);
        assert!(reports.try_recv().is_err(), "reported once");
    }

    #[test]
    fn log_output_starts_new_line_after_partial_write() {
        let writer = ScriptedWriter::with([Ok(4), disk_full(), disk_full()]);
        let output = Output::start(writer.clone(), QUEUE, |_| (), || ()).unwrap();
        for text in ["first\n", "second\n", "third\n"] {
            write_line(&output, text);
            output.flush(LIMIT);
        }
        assert_eq!((writer.text().as_str(), output.dropped()), ("firs\nthird\n", 2));
    }

    #[test]
    fn log_output_retries_when_blocked_or_interrupted() {
        let writer = ScriptedWriter::with([
            Err(io::ErrorKind::WouldBlock.into()),
            Err(io::ErrorKind::Interrupted.into()),
            Ok(2),
        ]);
        let output = Output::start(writer.clone(), QUEUE, |_| (), || ()).unwrap();
        write_line(&output, "whole\n");
        output.flush(LIMIT);
        assert_eq!((writer.text().as_str(), output.dropped()), ("whole\n", 0));
    }

    #[test]
    fn log_output_drops_lines_beyond_its_limit() {
        let (writes, write) = mpsc::sync_channel(0);
        let (written, text) = mpsc::channel();
        let (lost, reports) = mpsc::channel();
        let limit = 4 * (OVERHEAD + 2);
        let output =
            Output::start(BlockingWriter { writes, written }, limit, move |lines| lost.send(lines).unwrap(), || ())
                .unwrap();
        for _ in 0..10 {
            write_line(&output, "1\n");
        }
        assert_eq!(output.dropped(), 6);
        output.flush(Duration::from_millis(1));
        write_line(&output, "2\n");
        assert_eq!(output.dropped(), 7, "and the end of the program did not wait for ever");
        let mut lines = 0;
        while lines < 4 {
            write.recv_timeout(LIMIT).unwrap();
            lines += text.recv_timeout(LIMIT).unwrap().len() / 2;
        }
        assert_eq!(reports.recv_timeout(LIMIT), Ok(7));
    }

    #[test]
    fn log_output_ticks_about_once_a_second() {
        let (tick, ticked) = mpsc::channel();
        let _output = Output::start(io::sink(), QUEUE, |_| (), move || tick.send(()).unwrap_or(())).unwrap();
        ticked.recv_timeout(LIMIT).unwrap();
        ticked.recv_timeout(LIMIT).unwrap();
    }

    const QUEUE: usize = 1024 * 1024;
}
