//! The load generator: sends requests on connections that stay open, and reads each answer to its
//! end. It is the same for all servers and has a core of its own.

use std::{
    cell::RefCell,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use httparse::{EMPTY_HEADER, Status};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
};

/// The core of the servers, and that of the load.
pub(crate) const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// Longer than any preparation takes.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// What the load generator sends, and what becomes of the answers.
pub(crate) trait Requests {
    /// Writes the next request to the empty buffer and returns the number of its client; `None` at
    /// the end.
    fn next(&mut self, request: &mut Vec<u8>) -> Option<usize>;

    /// Takes the answer to a request of this client.
    ///
    /// # Panics
    ///
    /// If it is not the answer of a successful request.
    fn answered(&mut self, client: usize, answer: &Answer<'_>);
}

/// An HTTP response.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) location: &'a str,
    pub(crate) body: &'a [u8],
}

/// Where and how a load is run.
pub(crate) struct Load<'a> {
    /// The connections are distributed among these.
    pub(crate) nodes: &'a [SocketAddr],
    /// The number of connections, with one request each in flight.
    pub(crate) in_flight: usize,
    pub(crate) lasting: Duration,
}

/// What a load has done.
#[derive(Clone, Copy)]
pub(crate) struct Done {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
}

impl Load<'_> {
    /// Sends requests until the time is over or there are no more. Blocks.
    pub(crate) fn run(&self, requests: &mut (impl Requests + Send)) -> Done {
        let load = || {
            pin(LOAD_CORE);
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let requests = RefCell::new(requests);
            let begun = Instant::now();
            let connections = (0..self.in_flight)
                .map(|number| connection(self.nodes[number % self.nodes.len()], &requests, begun + self.lasting));
            let sent = runtime.block_on(join_all(connections)).into_iter().sum::<u32>();
            Done { requests: sent.into(), seconds: begun.elapsed().as_secs_f64() }
        };
        // A thread of its own, because only the load is bound to the core.
        thread::scope(|scope| scope.spawn(load).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

/// Binds the current thread, and those that it starts, to a core.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).expect("there are two cores: one for the server and one for the load");
}

/// Sends one request at a time, and returns how many.
async fn connection(node: SocketAddr, requests: &RefCell<&mut (impl Requests + Send)>, until: Instant) -> u32 {
    let mut stream = TcpStream::connect(node).await.expect("the server listens");
    stream.set_nodelay(true).expect("it is a socket");
    let (mut request, mut received) = (Vec::new(), Vec::new());
    let mut sent = 0;
    while Instant::now() < until {
        request.clear();
        let Some(client) = requests.borrow_mut().next(&mut request) else { break };
        stream.write_all(&request).await.expect("the server reads");
        received.clear();
        loop {
            let read = stream.read_buf(&mut received).await.expect("the server answers");
            assert!(read > 0, "the server closes instead of answering: {}", String::from_utf8_lossy(&request));
            if let Some(answer) = parse(&received) {
                requests.borrow_mut().answered(client, &answer);
                break;
            }
        }
        sent += 1;
    }
    sent
}

/// Reads a response; `None` if it has not all arrived.
fn parse(received: &[u8]) -> Option<Answer<'_>> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(body) = response.parse(received).expect("the server speaks HTTP") else { return None };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| str::from_utf8(header.value).expect("ASCII"))
    };
    let length = value("content-length").and_then(|length| length.parse::<usize>().ok());
    let length = length.expect("each of the servers says how long its answer is");
    let status = response.code.expect("a complete head has a status");
    Some(Answer { status, location: value("location").unwrap_or_default(), body: received.get(body..body + length)? })
}
