//! The tables of a comparison.

use crate::{
    compare::{Contender, IN_FLIGHT, Measured, Operation},
    peers,
    report::{head, median, row, thousands},
};

/// Prints the table of an operation.
pub(crate) fn print(contenders: &[Contender], operation: Operation, at: usize) {
    let title = format!("{}, {} in flight", operation.name(), IN_FLIGHT[at]);
    head(&[
        &title,
        "a second",
        "of oidc-provider",
        "least",
        "most",
        "of FastAPI",
        "a second of a core",
        "of oidc-provider",
        "with its databases",
        "core busy",
    ]);
    let measured = |name: &str| {
        let found = contenders.iter().find(|contender| contender.name == name);
        found.map_or(&[][..], |contender| &contender.measured[operation as usize][at])
    };
    // Compared in the same round, because noise affects both.
    let ratios = |of: &[Measured], to: &str, what: fn(&Measured) -> f64| -> Vec<f64> {
        of.iter().zip(measured(to)).map(|(of, to)| what(of) / what(to)).collect()
    };
    let cell = |ratios: Vec<f64>| if ratios.is_empty() { String::new() } else { format!("{:.2}", median(ratios)) };
    for contender in contenders {
        let of = &contender.measured[operation as usize][at];
        if of.is_empty() {
            continue;
        }
        let median_of = |what: fn(&Measured) -> f64| median(of.iter().map(what).collect());
        let rates = ratios(of, peers::OPAQUE, |measured| measured.rate);
        let least = rates.iter().copied().reduce(f64::min).into_iter().collect();
        let most = rates.iter().copied().reduce(f64::max).into_iter().collect();
        row(&[
            contender.name,
            &thousands(median_of(|measured| measured.rate)),
            &cell(rates),
            &cell(least),
            &cell(most),
            &cell(ratios(of, peers::FASTAPI, |measured| measured.rate)),
            &thousands(median_of(|measured| measured.of_core)),
            &cell(ratios(of, peers::OPAQUE, |measured| measured.of_core)),
            &if contender.uses_databases {
                thousands(median_of(|measured| measured.with_databases))
            } else {
                String::new()
            },
            &format!("{:.2}", median_of(|measured| measured.busy)),
        ]);
    }
}
