//! Distances on the globe, and what they mean for packets.

use super::RegionRef;

/// Mean radius of the earth, in kilometres.
const EARTH_RADIUS_KM: f64 = 6371.0;

/// Round trip of a kilometre of great circle, in milliseconds: light in glass does 200 km a millisecond, there and back, on
/// cables that are half as long again.
const ROUND_TRIP_MS_PER_KM: f64 = 2.0 * 1.5 / 200.0;

/// Great-circle distance, in whole kilometres (haversine formula). Whole, so that the last bits of a machine's sine decide nothing.
#[must_use]
pub fn distance_km(a: RegionRef, b: RegionRef) -> u32 {
    let (lat_a, lat_b) = (a.latitude.to_radians(), b.latitude.to_radians());
    let (half_lat, half_lon) = ((lat_b - lat_a) / 2.0, (b.longitude - a.longitude).to_radians() / 2.0);
    let h = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
    let km = 2.0 * EARTH_RADIUS_KM * h.sqrt().clamp(0.0, 1.0).asin();
    // Half the circumference at most.
    km.round() as u32
}

/// About how long a packet takes there and back, in milliseconds, at least 1.
#[must_use]
pub fn round_trip_ms(distance_km: u32) -> u32 {
    ((f64::from(distance_km) * ROUND_TRIP_MS_PER_KM).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::normalise::resolve;
    use super::*;

    #[test]
    fn distances_are_those_of_the_map() {
        let km = |a, b| distance_km(resolve(None, a).unwrap(), resolve(None, b).unwrap());
        for (a, b, known_km) in [
            ("eu-central-1", "eu-west-1", 1088),
            ("eu-central-1", "europe-west3", 0),
            ("eu-west-2", "us-east-1", 5900),
            ("ap-northeast-1", "us-west-2", 7900),
            ("ap-southeast-2", "sa-east-1", 13_360),
        ] {
            assert!(km(a, b).abs_diff(known_km) <= known_km / 50, "{a} {b}: {}", km(a, b));
            assert_eq!(km(a, b), km(b, a));
        }
        // London to Virginia takes some 75 to 90 ms.
        assert!((75..=90).contains(&round_trip_ms(km("eu-west-2", "us-east-1"))));
        assert_eq!(round_trip_ms(0), 1);
    }
}
