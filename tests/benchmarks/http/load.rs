//! Runs wrk, the load generator.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::{Child, Command};

/// A running load.
pub(crate) struct Load(Child);

/// The tokens that the requests carry.
pub(crate) enum Bearing<'a> {
    /// One token.
    One(&'a str),
    /// The tokens of a file, one a line, in turn.
    Many(&'a Path),
}

/// Sends the tokens of a file in turn.
const SCRIPT: &str = r#"
local tokens = {}
function init(args)
    for line in io.lines(args[1]) do tokens[#tokens + 1] = "Bearer " .. line end
end
local at = 0
function request()
    at = at % #tokens + 1
    return wrk.format("GET", nil, { authorization = tokens[at] })
end
"#;

impl Load {
    /// Requests `/me` on `connections` connections for the time `lasting`.
    pub(crate) fn start(url: &str, bearing: &Bearing<'_>, connections: usize, lasting: Duration) -> Self {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{connections}"), &format!("-d{}s", lasting.as_secs())]);
        match bearing {
            Bearing::One(token) => {
                wrk.arg("-H").arg(format!("authorization: Bearer {token}")).arg(format!("{url}/me"));
            }
            Bearing::Many(tokens) => {
                let script = tokens.with_extension("lua");
                std::fs::write(&script, SCRIPT).expect("a file can be written beside the tokens");
                wrk.arg("-s").arg(script).arg(format!("{url}/me")).arg("--").arg(tokens);
            }
        }
        let child = wrk.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true).spawn();
        Self(
            child
                .unwrap_or_else(|error| panic!("wrk cannot be run ({error}): install wrk, the HTTP benchmarking tool")),
        )
    }

    /// Waits for the end, and returns requests per second and the number of unsuccessful answers.
    pub(crate) async fn ended(self) -> (f64, u64) {
        let output = self.0.wait_with_output().await.expect("wrk ends");
        let said = String::from_utf8_lossy(&output.stdout);
        let after = |what: &str| said.lines().find_map(|line| line.trim().strip_prefix(what)).map(str::trim);
        let rate = after("Requests/sec:").and_then(|rate| rate.parse().ok());
        let refused = after("Non-2xx or 3xx responses:").map_or(0, |count| count.parse().unwrap_or(u64::MAX));
        (rate.unwrap_or_else(|| panic!("wrk has measured nothing:\n{said}")), refused)
    }
}
