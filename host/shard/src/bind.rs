//! Binds all sockets of all shards before any thread starts, so that a wrong address is one clear error, and says
//! what peers are told. Knows nothing of threads.

use crate::config::{ShardsConfig, StartError};
use crate::socket::{Options, listen, open};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use tidegate_types::transport::Candidate;

/// How often the kernel may choose a port whose number TCP has given away already.
const CHOICES: usize = 16;

/// The sockets of one shard, in the order of the configured addresses.
pub(crate) struct Bound {
    pub(crate) sockets: Vec<UdpSocket>,
    /// Beside each of them; empty where media goes over UDP alone.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) candidates: Vec<Candidate>,
}

/// Binds every shard's sockets.
pub(crate) fn bind(config: &ShardsConfig) -> Result<Vec<Bound>, StartError> {
    config.check()?;
    let shared = config.single_port.then(|| shared_ports(config)).transpose()?;
    (0..config.shards).map(|shard| bind_shard(config, shard, shared.as_deref())).collect()
}

/// The port of each address that all shards share. Sharing would hide another program on the same port, so each is
/// first bound alone.
fn shared_ports(config: &ShardsConfig) -> Result<Vec<u16>, StartError> {
    let port = |&ip| Ok(local(&bind_pair(config, ip, config.port, false)?.0)?.port());
    config.addresses.iter().map(port).collect()
}

fn bind_shard(config: &ShardsConfig, shard: u16, shared: Option<&[u16]>) -> Result<Bound, StartError> {
    let own_port = if config.port == 0 { 0 } else { config.port + shard };
    let port = |position: usize| shared.and_then(|ports| ports.get(position).copied()).unwrap_or(own_port);
    let addresses = config.addresses.iter().enumerate();
    let pairs: Vec<_> = addresses
        .map(|(position, &ip)| bind_pair(config, ip, port(position), shared.is_some()))
        .collect::<Result<_, _>>()?;
    let (sockets, listeners): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let bound: Vec<SocketAddr> = sockets.iter().map(local).collect::<Result<_, _>>()?;
    let candidates = candidates(&bound, &config.announce, config.tcp);
    Ok(Bound { sockets, listeners: listeners.into_iter().flatten().collect(), candidates })
}

/// A UDP socket, and a TCP listener of the same number. Where the kernel chooses, it knows UDP's ports only: what it
/// chose may be taken for TCP, and then it chooses again.
fn bind_pair(
    config: &ShardsConfig,
    ip: IpAddr,
    port: u16,
    shared: bool,
) -> Result<(UdpSocket, Option<TcpListener>), StartError> {
    let mut left = if port == 0 { CHOICES } else { 1 };
    loop {
        left -= 1;
        let socket = bind_one(config, ip, port, shared)?;
        if !config.tcp {
            return Ok((socket, None));
        }
        let address = local(&socket)?;
        match listen(address, shared) {
            Ok(listener) => return Ok((socket, Some(listener))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && left > 0 => {}
            Err(source) => return Err(StartError::Tcp { address, source }),
        }
    }
}

fn bind_one(config: &ShardsConfig, ip: IpAddr, port: u16, shared: bool) -> Result<UdpSocket, StartError> {
    let address = SocketAddr::new(ip, port);
    let options = Options {
        shared,
        receive_queue_bytes: config.receive_queue_bytes,
        send_queue_bytes: config.send_queue_bytes,
    };
    open(address, options).map_err(|error| explain(address, error))
}

fn local(socket: &UdpSocket) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|source| StartError::Bind { address: ([0, 0, 0, 0], 0).into(), source })
}

fn explain(address: SocketAddr, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse { address },
        io::ErrorKind::AddrNotAvailable => StartError::NotOurs { address: address.ip() },
        io::ErrorKind::PermissionDenied => StartError::Forbidden { address },
        _ => StartError::Bind { address, source },
    }
}

/// What is announced: the bound addresses, or in their place each announced one with the ports of its IP version.
fn candidates(bound: &[SocketAddr], announce: &[IpAddr], tcp: bool) -> Vec<Candidate> {
    if announce.is_empty() {
        return bound.iter().map(|&address| Candidate { address, tcp }).collect();
    }
    let mut candidates = Vec::new();
    for &ip in announce {
        for port in bound.iter().filter(|bound| bound.is_ipv4() == ip.is_ipv4()).map(SocketAddr::port) {
            let candidate = Candidate { address: SocketAddr::new(ip, port), tcp };
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::{IpAddr, ShardsConfig, SocketAddr, StartError, UdpSocket, bind, candidates};

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let other = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let port = other.local_addr().expect("bound").port();
        for single_port in [false, true] {
            let config = ShardsConfig { port, single_port, ..ShardsConfig::loopback() };
            let said = bind(&config).err().expect("in use").to_string();
            let expected = format!(
                "UDP port {port} at 127.0.0.1 is in use: stop the program that has it, or choose another port"
            );
            assert_eq!(said, expected);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_single_port_is_not_shared_with_another_program_that_would_share_it() {
        let config = ShardsConfig { single_port: true, ..ShardsConfig::loopback() };
        let other = bind(&config).expect("loopback");
        let port = other[0].candidates[0].address.port();
        let second = bind(&ShardsConfig { port, ..config });
        assert!(matches!(second, Err(StartError::PortInUse { address }) if address.port() == port));
    }

    #[test]
    fn anothers_address_is_named_with_what_to_do() {
        let config = ShardsConfig { addresses: vec![[192, 0, 2, 77].into()], ..ShardsConfig::loopback() };
        assert!(
            matches!(bind(&config), Err(StartError::NotOurs { address }) if address == IpAddr::from([192, 0, 2, 77]))
        );
    }

    #[test]
    fn shards_on_one_port_all_announce_it_and_others_have_their_own() {
        let ports = |single_port| {
            let config = ShardsConfig { shards: 3, single_port, ..ShardsConfig::loopback() };
            let bound = bind(&config).expect("loopback");
            let mut ports: Vec<u16> = bound.iter().map(|shard| shard.candidates[0].address.port()).collect();
            ports.sort_unstable();
            ports.dedup();
            ports.len()
        };
        assert_eq!(ports(false), 3);
        if cfg!(target_os = "linux") {
            assert_eq!(ports(true), 1);
        }
    }

    #[test]
    fn announced_addresses_replace_the_bound_ones_of_their_ip_version() {
        let bound: Vec<SocketAddr> = ["10.0.0.1:5000", "10.0.0.2:5000", "[fd00::1]:6000"]
            .map(|text| text.parse().expect("address"))
            .into();
        let told = |announce: &[&str]| {
            let announce: Vec<IpAddr> = announce.iter().map(|text| text.parse().expect("address")).collect();
            let told = candidates(&bound, &announce, true);
            told.iter().map(|candidate| candidate.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), ["10.0.0.1:5000", "10.0.0.2:5000", "[fd00::1]:6000"]);
        assert_eq!(told(&["203.0.113.9"]), ["203.0.113.9:5000"]);
        assert_eq!(told(&["203.0.113.9", "2001:db8::9"]), ["203.0.113.9:5000", "[2001:db8::9]:6000"]);
    }
}
