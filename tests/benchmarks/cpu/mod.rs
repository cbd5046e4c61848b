//! The processor time of processes.

use std::fs;

/// Returns the processor time that a process has used, in seconds.
pub(crate) fn processor_time(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("this is Linux, and the process runs");
    // `utime` and `stime`, in hundredths of a second: the 12th and 13th fields after the name.
    let after_name = stat.rsplit_once(')').expect("the kernel tells").1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}
