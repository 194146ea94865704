//! How many shards, where they listen, what they announce, and what can be wrong with that. Knows nothing of
//! sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tidegate_types::NodeId;

/// The most shards of one node. Turning it up costs memory: rings go from each shard to each.
pub const MOST_SHARDS: u16 = 128;

/// The usual bound on connected sockets at one address.
pub const CONNECTED_SOCKETS: u16 = 64;

/// How a node's shards are set up.
#[derive(Clone, Debug)]
pub struct ShardsConfig {
    /// The node they make up.
    pub node: NodeId,
    /// How many: 1 to [`MOST_SHARDS`].
    pub shards: u16,
    /// The exact interface addresses to bind. The wildcard address is possible only with `announce`, and then a
    /// machine with several addresses may answer from another than it was asked at.
    pub addresses: Vec<IpAddr>,
    /// Announced in place of `addresses`, where a NAT or a container stands between; empty announces what is
    /// bound.
    pub announce: Vec<IpAddr>,
    /// Shard n listens on `port + n`; 0 lets the kernel choose.
    pub port: u16,
    /// All shards share `port` (`SO_REUSEPORT`): one hole in a firewall, at the price that most first datagrams of
    /// a flow reach another shard and are handed over. Linux only.
    pub single_port: bool,
    /// Besides UDP take TCP on the same ports (RFC 6544), for peers whose network passes nothing else.
    pub tcp: bool,
    /// Bind each thread to a core of its own, where there are enough.
    pub pin: bool,
    /// Wanted size of each socket's receive queue; the system may grant less.
    pub receive_queue_bytes: usize,
    /// Wanted size of each socket's send queue; the system may grant less. Turning it up trades drops for delay.
    pub send_queue_bytes: usize,
    /// How many transports that moved away may have a connected socket at each address of each shard; those of the others
    /// go on being handed over. Each costs a descriptor, and every other flow there about 6 ns a packet on kernels
    /// before 6.13. With `single_port` there are none.
    pub connected_sockets: u16,
    /// Slots of the ring between one shard and another (about 200 bytes each, for each ordered pair of shards).
    pub ring_slots: usize,
    /// How many commands may wait for one shard.
    pub command_slots: usize,
}

impl ShardsConfig {
    /// One shard on 127.0.0.1, at a port that the kernel chooses.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            node: NodeId(0),
            shards: 1,
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            announce: Vec::new(),
            port: 0,
            single_port: false,
            tcp: true,
            pin: false,
            receive_queue_bytes: 4 << 20,
            send_queue_bytes: 1 << 20,
            connected_sockets: CONNECTED_SOCKETS,
            ring_slots: 1_024,
            command_slots: 1_024,
        }
    }

    /// Refuses what no machine could do.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let (shards, most) = (self.shards, MOST_SHARDS);
        if shards == 0 || shards > most {
            return Err(StartError::Shards { shards, most });
        }
        let highest = u16::MAX - (shards - 1);
        if self.port > highest && !self.single_port {
            return Err(StartError::Ports { first: self.port, shards, highest });
        }
        if self.addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        if self.single_port && !cfg!(target_os = "linux") {
            return Err(StartError::SinglePort);
        }
        self.check_announced()
    }

    fn check_announced(&self) -> Result<(), StartError> {
        if self.announce.is_empty() {
            let wildcard = self.addresses.iter().find(|address| address.is_unspecified());
            return wildcard.map_or(Ok(()), |&address| Err(StartError::Wildcard { address }));
        }
        for &announced in &self.announce {
            if !self.addresses.iter().any(|bound| bound.is_ipv4() == announced.is_ipv4()) {
                return Err(StartError::Announced { announced });
            }
        }
        Ok(())
    }
}

/// Why the shards did not start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// None, or too many.
    #[error("{shards} shards asked for: choose 1 to {most}")]
    Shards {
        /// Asked for.
        shards: u16,
        /// Possible.
        most: u16,
    },
    /// One port a shard goes beyond the last port.
    #[error(
        "{shards} shards from port {first} on go beyond port 65535: choose a first port of at most {highest}"
    )]
    Ports {
        /// The first.
        first: u16,
        /// How many are needed.
        shards: u16,
        /// The highest possible first port.
        highest: u16,
    },
    /// Nothing to bind.
    #[error("no address to bind: name at least one address of this machine")]
    NoAddress,
    /// Peers cannot be told to come to the wildcard.
    #[error(
        "{address} stands for every address, and peers need one: bind exact addresses, or say what to announce"
    )]
    Wildcard {
        /// The wildcard.
        address: IpAddr,
    },
    /// Announced, but nothing of that family is bound.
    #[error(
        "{announced} is to be announced, but no address of its IP version is bound: bind one, or leave it out"
    )]
    Announced {
        /// The announced one.
        announced: IpAddr,
    },
    /// Not on this system.
    #[error("sharing one port among shards needs Linux: leave out the single port")]
    SinglePort,
    /// Somebody else has it.
    #[error("UDP port {} at {} is in use: stop the program that has it, or choose another port", .address.port(), .address.ip())]
    PortInUse {
        /// Which.
        address: SocketAddr,
    },
    /// Not an address of this machine.
    #[error("{address} is not an address of this machine: bind one that is, and announce {address} instead")]
    NotOurs {
        /// Which.
        address: IpAddr,
    },
    /// Privileged port.
    #[error("UDP port {} at {} may not be bound by this user: choose a port of 1024 or more", .address.port(), .address.ip())]
    Forbidden {
        /// Which.
        address: SocketAddr,
    },
    /// Anything else about a socket.
    #[error("cannot bind {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The same port of TCP cannot be had.
    #[error("cannot listen on TCP port {} at {} beside UDP: choose another port, or carry media over UDP alone", .address.port(), .address.ip())]
    Tcp {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No thread, or no descriptor to wait with.
    #[error("cannot start a shard's thread: raise the limits on threads and open files")]
    Thread(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::{IpAddr, ShardsConfig, StartError};
    use std::net::Ipv6Addr;

    #[test]
    fn an_impossible_wish_says_what_to_do() {
        let good = ShardsConfig::loopback;
        let cases = [
            (ShardsConfig { shards: 0, ..good() }, "0 shards asked for: choose 1 to 128"),
            (ShardsConfig { shards: 4_000, ..good() }, "4000 shards asked for: choose 1 to 128"),
            (ShardsConfig { shards: 4, port: 65_533, ..good() }, "choose a first port of at most 65532"),
            (ShardsConfig { addresses: Vec::new(), ..good() }, "name at least one address"),
            (ShardsConfig { addresses: vec![[0, 0, 0, 0].into()], ..good() }, "bind exact addresses"),
            (
                ShardsConfig { announce: vec![IpAddr::V6(Ipv6Addr::LOCALHOST)], ..good() },
                "bind one, or leave it out",
            ),
        ];
        for (config, part) in cases {
            let said = config.check().expect_err(part).to_string();
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn the_last_ports_and_a_wildcard_with_an_announced_address_are_possible() -> Result<(), StartError> {
        ShardsConfig { shards: 4, port: 65_532, ..ShardsConfig::loopback() }.check()?;
        ShardsConfig { shards: 4, port: 65_535, single_port: true, ..ShardsConfig::loopback() }.check()?;
        let announce = vec![[192, 0, 2, 1].into()];
        ShardsConfig { addresses: vec![[0, 0, 0, 0].into()], announce, ..ShardsConfig::loopback() }.check()
    }
}
