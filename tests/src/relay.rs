//! Relays between a node and its servers, and stops the node at any step.
//!
//! A *step* is a command caused by a client's request: a read or a write in MongoDB, or one of the
//! entry of a token or of a denial in Redis. Health checks, handshakes and background work are not
//! steps. Steps are counted over all of a node's servers.
//!
//! A node is stopped **after** a step: the server has executed it, and the node has not received
//! the answer. Stopping it before the next step would be the same, since it touches nothing shared
//! in between. A pipeline is sent whole, even if the stop is inside it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

/// The longest wait for a stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MongoDB's `OP_MSG`.
    MongoDb,
    /// Redis's RESP.
    Redis,
}

/// Relays the connections of one node. They end when it is dropped.
#[derive(Debug)]
pub struct Relay {
    counter: Arc<StepCounter>,
    _listeners: JoinSet<()>,
}

/// Counts the steps of a node and stops it.
#[derive(Debug)]
struct StepCounter {
    state: Mutex<CounterState>,
    /// True while the node is stopped.
    paused: watch::Sender<bool>,
    /// True once the stop has been reached.
    reached: watch::Sender<bool>,
}

/// The steps so far, and the one to stop after.
#[derive(Debug, Default)]
struct CounterState {
    steps: Vec<String>,
    stop_after: Option<usize>,
}

impl Relay {
    /// Starts relays to these servers. The returned addresses are in the same order.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start(servers: &[(Protocol, SocketAddr)]) -> io::Result<(Self, Vec<SocketAddr>)> {
        let counter = Arc::new(StepCounter {
            state: Mutex::default(),
            paused: watch::Sender::new(false),
            reached: watch::Sender::new(false),
        });
        let mut listeners = JoinSet::new();
        let mut addresses = Vec::new();
        for &(protocol, server) in servers {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push(listener.local_addr()?);
            listeners.spawn(accept(listener, protocol, server, Arc::clone(&counter)));
        }
        Ok((Self { counter, _listeners: listeners }, addresses))
    }

    /// Starts counting. The node is stopped after step `number`; the first is 1.
    pub fn stop_after(&self, number: usize) {
        let mut state = self.counter.lock();
        *state = CounterState { steps: Vec::new(), stop_after: Some(number) };
        self.counter.reached.send_replace(false);
        self.counter.paused.send_replace(false);
    }

    /// Waits until the node is stopped. Race it against the node's work, which may end with fewer
    /// steps.
    ///
    /// # Panics
    ///
    /// If the node takes longer than any work does.
    pub async fn until_stopped(&self) {
        let mut reached = self.counter.reached.subscribe();
        let waited = timeout(PATIENCE, reached.wait_for(|reached| *reached)).await;
        assert!(waited.is_ok(), "the node neither came to the stop nor to its end; steps: {:?}", self.steps());
    }

    /// Lets the node go on, and stops it no more.
    pub fn release(&self) {
        self.counter.lock().stop_after = None;
        self.counter.paused.send_replace(false);
    }

    /// Returns the steps since [`stop_after`](Self::stop_after), by the names of their commands.
    pub fn steps(&self) -> Vec<String> {
        self.counter.lock().steps.clone()
    }
}

impl StepCounter {
    /// Locks the count.
    fn lock(&self) -> std::sync::MutexGuard<'_, CounterState> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a step. Returns whether the node is to stop after it.
    fn record(&self, name: &str) -> bool {
        let mut state = self.lock();
        state.steps.push(name.to_owned());
        state.stop_after == Some(state.steps.len())
    }
}

/// Accepts connections of the node and forwards each.
async fn accept(listener: TcpListener, protocol: Protocol, server: SocketAddr, counter: Arc<StepCounter>) {
    let mut connections = JoinSet::new();
    while let Ok((node, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(forward(node, protocol, server, Arc::clone(&counter)));
    }
}

/// Forwards one connection, in both directions.
async fn forward(node: TcpStream, protocol: Protocol, server: SocketAddr, counter: Arc<StepCounter>) {
    // An unreachable server appears as a connection that closes at once.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_node, to_node) = node.into_split();
    let (from_server, to_server) = server.into_split();
    let stopped = AtomicBool::new(false);
    tokio::select! {
        () = forward_requests(from_node, to_server, protocol, &counter, &stopped) => {}
        () = forward_answers(from_server, to_node, &counter, &stopped) => {}
    }
}

/// Forwards requests one by one. Marks the connection as stopped before it forwards the request
/// whose answer waits.
async fn forward_requests(
    mut node: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    protocol: Protocol,
    counter: &StepCounter,
    stopped: &AtomicBool,
) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        while let Some((length, step)) = first_request(protocol, &buffer) {
            if step.is_some_and(|name| counter.record(&name)) {
                counter.paused.send_replace(true);
                stopped.store(true, Ordering::Release);
            }
            if server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            buffer.drain(..length);
        }
        match node.read(&mut chunk).await {
            Ok(read @ 1..) => buffer.extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
}

/// Forwards answers. On a stopped connection it waits until the stop is lifted.
async fn forward_answers(
    mut server: OwnedReadHalf,
    mut node: OwnedWriteHalf,
    counter: &StepCounter,
    stopped: &AtomicBool,
) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = server.read(&mut chunk).await {
        if stopped.swap(false, Ordering::AcqRel) {
            counter.reached.send_replace(true);
            if counter.paused.subscribe().wait_for(|paused| !paused).await.is_err() {
                return;
            }
        }
        if node.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

/// Returns the length of the first whole request in `bytes`, and its command if it is a step.
fn first_request(protocol: Protocol, bytes: &[u8]) -> Option<(usize, Option<String>)> {
    match protocol {
        Protocol::MongoDb => mongodb_request(bytes),
        Protocol::Redis => redis_request(bytes),
    }
}

/// The commands that the driver sends by itself, and those of a start.
const NOT_STEPS: [&str; 8] =
    ["hello", "ismaster", "isMaster", "ping", "endSessions", "buildInfo", "createIndexes", "listIndexes"];

/// The comment of background commands: a node looks for unfinished revocations, and records that
/// its own are finished.
const BACKGROUND: &[u8] = b"auth-layer: background";

/// Parses a message: its length, two identifiers and the opcode, each a little-endian 32-bit
/// integer. `OP_MSG` then has flags and a section of kind 0: a BSON document whose first member is
/// named after the command.
fn mongodb_request(bytes: &[u8]) -> Option<(usize, Option<String>)> {
    const OP_MSG: [u8; 4] = 2013_u32.to_le_bytes();
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let message = bytes.get(..length)?;
    let name = (message.get(12..16) == Some(&OP_MSG[..]) && message.get(20) == Some(&0)).then(|| {
        // Skips the document's length and the type of its first member.
        let name = message.get(26..).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    let in_background = message.windows(BACKGROUND.len()).any(|window| window == BACKGROUND);
    Some((length, name.filter(|name| !NOT_STEPS.contains(&name.as_str()) && !in_background)))
}

/// Parses a command: an array of bulk strings. A step is a `GET` or `SET` of a key that ends in a
/// UUID, or any command with the key of a denial: `d:` and 32 bytes.
fn redis_request(bytes: &[u8]) -> Option<(usize, Option<String>)> {
    let mut rest = bytes;
    let count = number_after(&mut rest, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number_after(&mut rest, b'$')?;
        words.push(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
    let name = words.first().map(|name| String::from_utf8_lossy(name).to_ascii_uppercase());
    let is_token_key =
        words.get(1).and_then(|key| key.last_chunk::<36>()).is_some_and(|id| Uuid::try_parse_ascii(id).is_ok());
    let is_denial_key = |word: &&[u8]| word.last_chunk::<34>().is_some_and(|end| end.starts_with(b"d:"));
    let of_token = |name: &str| is_token_key && (name == "GET" || name == "SET");
    let of_denial = |name: &str| name != "PUBLISH" && words.iter().any(is_denial_key);
    let step = name.filter(|name| of_token(name) || of_denial(name));
    Some((bytes.len() - rest.len(), step))
}

/// Reads `<mark><number>\r\n` from the front.
fn number_after(rest: &mut &[u8], mark: u8) -> Option<usize> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let number = rest.strip_prefix(&[mark])?.get(..end - 1)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    *rest = &rest[end + 2..];
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_tells_redis_steps_from_other_commands() {
        let get = b"*2\r\n$3\r\nGET\r\n$41\r\nauth:0191d7b0-0000-7000-8000-000000000000\r\n";
        assert_eq!(redis_request(get), Some((get.len(), Some("GET".to_owned()))));
        let two = [&get[..], b"*1\r\n$4\r\nTIME\r\n"].concat();
        assert_eq!(redis_request(&two), Some((get.len(), Some("GET".to_owned()))));
        assert_eq!(redis_request(&two[get.len()..]), Some((14, None)));
        let probe = b"*3\r\n$3\r\nSET\r\n$10\r\nauth:probe\r\n$0\r\n\r\n";
        assert_eq!(redis_request(probe), Some((probe.len(), None)));
        let key = [&b"auth:d:"[..], &[0xff; 32]].concat();
        for words in [vec![&b"MGET"[..], &key, &key], vec![b"EVAL", b"return 1", b"1", &key], vec![b"SET", &key, b"0"]]
        {
            let mut command = format!("*{}\r\n", words.len()).into_bytes();
            for word in &words {
                command.extend(format!("${}\r\n", word.len()).bytes());
                command.extend([word, &b"\r\n"[..]].concat());
            }
            let name = String::from_utf8(words[0].to_vec()).unwrap();
            assert_eq!(redis_request(&command), Some((command.len(), Some(name))));
        }
        for end in 0..get.len() {
            assert_eq!(redis_request(&get[..end]), None, "cut after {end} bytes");
        }
    }

    #[test]
    fn relay_tells_mongodb_steps_from_other_commands() {
        let message_with = |name: &str, comment: &str| {
            let document = bson::doc! { name: "tokens", "comment": comment }.to_vec().unwrap();
            let length = u32::try_from(21 + document.len()).unwrap();
            [&length.to_le_bytes()[..], &[0; 8], &2013_u32.to_le_bytes(), &[0; 5], &document].concat()
        };
        let message = |name: &str| message_with(name, "");
        let find = message("find");
        assert_eq!(mongodb_request(&find), Some((find.len(), Some("find".to_owned()))));
        assert_eq!(mongodb_request(&message("hello")).unwrap().1, None);
        assert_eq!(mongodb_request(&message_with("find", "auth-layer: background")).unwrap().1, None);
        for end in 0..find.len() {
            assert_eq!(mongodb_request(&find[..end]), None, "cut after {end} bytes");
        }
    }
}
