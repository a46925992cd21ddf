//! What a fleet is made of: who belongs to it, what its members tell one another, and what of that is
//! believed.
//!
//! A datagram is opened before anything in it is decoded ([`seal`]); a record counts only if its owner,
//! who is a member ([`members`]), has signed it ([`record`]). Random bytes and the time come in as
//! arguments. Not here: sockets, files, gossip's rounds (the driver).

pub mod identity;
pub mod key;
pub mod list;
pub mod members;
pub mod offset;
pub mod peers;
pub mod record;
pub mod seal;
pub mod slots;
pub mod ties;
pub mod window;
pub mod words;
