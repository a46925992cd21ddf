//! Resuming a session where its files are not: they are read on their host, told page by page, and put where
//! the harness looks for them.
//!
//! `give` is the side that has them, `relay` asks it for a client of this host, [`place`] writes them into a
//! harness's home, [`git`] looks at the clone in which it goes on, [`whence`] finds where it was. Not here: which
//! command follows, and who is asked what (the client); names and rules ([`rrd_core::resume`]).

pub mod git;
pub(crate) mod give;
pub mod place;
pub(crate) mod relay;
pub mod whence;

pub use crate::mirror::was_enabled;
pub use rrd_core::resume::{
    Checkout, Header, Layout, No, Rollout, Saw, Wish, command, directory, doubt, facts, layout,
    may, named, same_remote,
};

/// A new id, as the harness would give one: at random, and for Codex beginning with the time.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn new_id(layout: Layout) -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
    let version = match layout {
        Layout::ClaudeCode => 4,
        Layout::Codex => {
            let ms = u64::try_from(crate::hub::now().as_millis()).unwrap_or(0);
            bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
            7
        }
    };
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_such_as_a_harness_gives() {
        for (layout, version) in [(Layout::ClaudeCode, "4"), (Layout::Codex, "7")] {
            let (a, b) = (new_id(layout).unwrap(), new_id(layout).unwrap());
            assert!(a != b && layout.is_id(&a) && Layout::Codex.is_id(&a), "{a}");
            assert_eq!(&a[14..15], version);
        }
    }
}
