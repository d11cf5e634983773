//! Networks of IP addresses: what an API key may be bound to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A network in CIDR notation, such as `192.0.2.0/24` or `2001:db8::/32`. One address is a network, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpNetworkError {
    /// Not an address with an optional length.
    #[error("a network is an IP address, or one with a prefix length such as 192.0.2.0/24")]
    Shape,
    /// Bits behind the prefix are set: somebody meant another network, or one address.
    #[error("the address has bits behind its prefix length; for one address leave the length out")]
    HostBits,
}

impl IpNetwork {
    /// Reads CIDR notation.
    ///
    /// # Errors
    /// [`IpNetworkError`].
    pub fn parse(text: &str) -> Result<Self, IpNetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpNetworkError::Shape)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match length {
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().ok().filter(|length| *length <= bits).ok_or(IpNetworkError::Shape)?
            }
            Some(_) => return Err(IpNetworkError::Shape),
            None => bits,
        };
        let network = Self { address, prefix_bits };
        if network.mask(address) != Some(as_bits(address)) {
            return Err(IpNetworkError::HostBits);
        }
        Ok(network)
    }

    /// Whether `address` is in the network. An IPv4 address that comes as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.mask(address.to_canonical()) == Some(as_bits(self.address))
    }

    /// `address` without the bits behind the prefix, if it is of the network's family.
    fn mask(&self, address: IpAddr) -> Option<u128> {
        if address.is_ipv4() != self.address.is_ipv4() {
            return None;
        }
        let width = if address.is_ipv4() { 32 } else { 128 };
        let behind = u32::from(width - self.prefix_bits);
        // Shifting out all 128 bits at once is no shift.
        Some(as_bits(address).checked_shr(behind).and_then(|bits| bits.checked_shl(behind)).unwrap_or(0))
    }
}

fn as_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_and_outside() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", vec!["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"], vec!["192.0.3.0", "::1"]),
            ("192.0.2.7", vec!["192.0.2.7"], vec!["192.0.2.6", "192.0.2.8"]),
            ("0.0.0.0/0", vec!["255.255.255.255", "0.0.0.0"], vec!["::1"]),
            ("::/0", vec!["::", "2001:db8::1"], vec!["192.0.2.7"]),
            ("2001:db8::/32", vec!["2001:db8:ffff::1"], vec!["2001:db9::"]),
            ("2001:db8::1", vec!["2001:db8::1"], vec!["2001:db8::2"]),
        ] {
            let parsed = IpNetwork::parse(network).unwrap();
            assert_eq!(IpNetwork::parse(&parsed.to_string()).unwrap(), parsed);
            for address in inside {
                assert!(parsed.contains(address.parse().unwrap()), "{address} in {network}");
            }
            for address in outside {
                assert!(!parsed.contains(address.parse().unwrap()), "{address} not in {network}");
            }
        }
    }

    #[test]
    fn anything_else_is_no_network() {
        for bad in [
            "",
            "/",
            "192.0.2.0/",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/+8",
            "192.0.2/24",
            "a",
            "192.0.2.0/24/8",
        ] {
            assert_eq!(IpNetwork::parse(bad), Err(IpNetworkError::Shape), "{bad}");
        }
        for vague in ["192.0.2.7/24", "2001:db8::1/32", "128.0.0.0/0"] {
            assert_eq!(IpNetwork::parse(vague), Err(IpNetworkError::HostBits), "{vague}");
        }
    }
}
