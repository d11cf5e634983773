use std::io::Write;

use super::*;

fn compress(encoding: Encoding, data: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Identity => data.to_vec(),
        Encoding::Snappy => snap::raw::Encoder::new().compress_vec(data).unwrap(),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Zstd => zstd::encode_all(data, 3).unwrap(),
    }
}

const ALL: [Encoding; 4] = [Encoding::Identity, Encoding::Snappy, Encoding::Gzip, Encoding::Zstd];
const COMPRESSED: [Encoding; 3] = [Encoding::Snappy, Encoding::Gzip, Encoding::Zstd];

fn limits(compressed: usize, decompressed: usize) -> Limits {
    Limits { max_compressed_bytes: compressed, max_decompressed_bytes: decompressed, ..Limits::DEFAULT }
}

/// Bytes that compress a little.
fn data(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 27) as u8).collect()
}

#[test]
fn one_decompressor_serves_every_encoding_and_size() {
    let mut decompressor = Decompressor::default();
    for length in [0, 1, 1_000_000, 100, 200_000, 65_536, 65_537] {
        let data = data(length);
        for encoding in ALL {
            let body = compress(encoding, &data);
            let back = decompressor.decompress(encoding, &body, &Limits::DEFAULT).unwrap();
            assert!(back == data, "{encoding:?} of {length} bytes");
        }
    }
}

#[test]
fn the_limits_are_exact() {
    let data = data(10_000);
    let mut decompressor = Decompressor::default();
    for encoding in ALL {
        let body = compress(encoding, &data);
        let exact = limits(body.len(), data.len());
        assert!(decompressor.decompress(encoding, &body, &exact).is_ok(), "{encoding:?}");
        let error =
            decompressor.decompress(encoding, &body, &limits(body.len() - 1, data.len())).unwrap_err();
        assert!(matches!(error, DecompressError::BodyTooLarge { .. }), "{encoding:?}: {error}");
        let error =
            decompressor.decompress(encoding, &body, &limits(body.len(), data.len() - 1)).unwrap_err();
        assert!(matches!(error, DecompressError::DecompressedTooLarge { .. }), "{encoding:?}: {error}");
        assert!(error.to_string().contains("9999"), "{error}");
    }
}

#[test]
fn several_members_or_frames_are_one_body() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let mut body = compress(encoding, b"one, ");
        body.extend(compress(encoding, b"two"));
        let mut decompressor = Decompressor::default();
        assert_eq!(decompressor.decompress(encoding, &body, &Limits::DEFAULT).unwrap(), b"one, two");
    }
}

#[test]
fn bombs_end_at_the_limit() {
    let limits = limits(1 << 20, 1 << 20);
    let zeros = vec![0; 16 << 20];
    let mut decompressor = Decompressor::default();
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let bomb = compress(encoding, &zeros);
        assert!(bomb.len() < limits.max_compressed_bytes);
        let error = decompressor.decompress(encoding, &bomb, &limits).unwrap_err();
        assert!(matches!(error, DecompressError::DecompressedTooLarge { .. }), "{encoding:?}: {error}");
        assert!(decompressor.buffer.capacity() <= 4 << 20, "{}", decompressor.buffer.capacity());
    }
}

#[test]
fn a_snappy_header_that_promises_too_much_takes_no_memory() {
    let mut decompressor = Decompressor::default();
    // Declares 60 MiB, holds two bytes.
    let body = [0x80, 0x80, 0x80, 0x1e, 0x00, b'x'];
    let error = decompressor.decompress(Encoding::Snappy, &body, &Limits::DEFAULT).unwrap_err();
    assert!(matches!(error, DecompressError::Invalid { .. }), "{error}");
    assert_eq!(decompressor.buffer.capacity(), 0);
    // The best that snappy can do is let through.
    let zeros = vec![0; 1 << 20];
    let body = compress(Encoding::Snappy, &zeros);
    assert_eq!(decompressor.decompress(Encoding::Snappy, &body, &Limits::DEFAULT).unwrap(), zeros);
}

#[test]
fn a_zstd_window_beyond_8_mib_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(25).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&data(1 << 20)).unwrap();
    let body = encoder.finish().unwrap();
    let error = Decompressor::default().decompress(Encoding::Zstd, &body, &Limits::DEFAULT).unwrap_err();
    assert!(matches!(error, DecompressError::Invalid { .. }), "{error}");
}

#[test]
fn cut_and_spoilt_bodies_are_errors_and_the_next_one_is_fine() {
    let data = data(3000);
    let mut decompressor = Decompressor::default();
    for encoding in COMPRESSED {
        let body = compress(encoding, &data);
        for end in 0..body.len() {
            let result = decompressor.decompress(encoding, &body[..end], &Limits::DEFAULT);
            assert!(
                matches!(result, Err(DecompressError::Invalid { .. })),
                "{encoding:?} cut at {end} of {}",
                body.len()
            );
        }
        for at in 0..body.len() {
            let mut spoilt = body.clone();
            spoilt[at] ^= 0x40;
            let _ = decompressor.decompress(encoding, &spoilt, &Limits::DEFAULT);
        }
        assert_eq!(decompressor.decompress(encoding, &body, &Limits::DEFAULT).unwrap(), data);
    }
}

#[test]
fn a_large_body_does_not_pin_its_memory() {
    let mut decompressor = Decompressor::default();
    let large = compress(Encoding::Snappy, &data(6 << 20));
    decompressor.decompress(Encoding::Snappy, &large, &Limits::DEFAULT).unwrap();
    decompressor
        .decompress(Encoding::Snappy, &compress(Encoding::Snappy, b"small"), &Limits::DEFAULT)
        .unwrap();
    assert!(decompressor.buffer.capacity() <= KEPT_BUFFER_BYTES);
}

#[test]
fn header_values_name_encodings() {
    for (value, expected) in [
        ("", Some(Encoding::Identity)),
        ("GZIP", Some(Encoding::Gzip)),
        (" zstd ", Some(Encoding::Zstd)),
        ("snappy", Some(Encoding::Snappy)),
        ("br", None),
        ("gzip, gzip", None),
    ] {
        assert_eq!(Encoding::from_header(value), expected, "{value:?}");
    }
}
