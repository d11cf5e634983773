//! Decompression of request bodies, bounded before and while it runs.

use flate2::bufread::MultiGzDecoder;
use std::io::Read;
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

use crate::limits::{KEPT_BUFFER_BYTES, Limits, SNAPPY_MAX_EXPANSION, ZSTD_WINDOW_LOG_MAX};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// Snappy's block format (not its framing format), as remote write has it.
    Snappy,
    /// Gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several, with windows of at most 8 MiB.
    Zstd,
}

impl Encoding {
    /// The encoding that the value of a `Content-Encoding` header names; `None` when it is not a supported one.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        let value = value.trim();
        let is = |name: &str| value.eq_ignore_ascii_case(name);
        if value.is_empty() || is("identity") {
            Some(Self::Identity)
        } else if is("snappy") {
            Some(Self::Snappy)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// The name in a `Content-Encoding` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Why a body could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The body is larger than is taken: the client has to send less at once.
    #[error("the request body is {bytes} bytes, more than the limit of {limit}: send smaller batches")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// The body is larger after decompression than is taken: the client has to send less at once.
    #[error(
        "the request body is more than {limit} bytes after decompression ({encoding}), which is the limit: send smaller batches"
    )]
    DecompressedTooLarge {
        /// How it is compressed.
        encoding: &'static str,
        /// The most that is taken.
        limit: usize,
    },
    /// The body is not what its encoding says.
    #[error("the request body is not valid {encoding} data: {reason}")]
    Invalid {
        /// How it should be compressed.
        encoding: &'static str,
        /// What the codec says.
        reason: String,
    },
}

/// Decompresses bodies into a buffer that it keeps, so that a pooled one takes no memory anew for each request.
#[derive(Default)]
pub struct Decompressor {
    /// Its length only grows within a request size class: bytes past the current body are left over from earlier ones.
    buffer: Vec<u8>,
    zstd: Option<zstd::stream::raw::Decoder<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("buffer_bytes", &self.buffer.capacity()).finish_non_exhaustive()
    }
}

impl Decompressor {
    /// The decompressed `body`, which lives until the next call.
    ///
    /// Memory grows with what is really decompressed, never with what a header promises beyond what the codec can do.
    ///
    /// # Errors
    /// [`DecompressError`]: a limit of `limits` was hit, or the data is invalid.
    pub fn decompress<'a>(
        &'a mut self,
        encoding: Encoding,
        body: &'a [u8],
        limits: &Limits,
    ) -> Result<&'a [u8], DecompressError> {
        if body.len() > limits.max_compressed_bytes {
            return Err(DecompressError::BodyTooLarge {
                bytes: body.len(),
                limit: limits.max_compressed_bytes,
            });
        }
        if self.buffer.len() > KEPT_BUFFER_BYTES {
            self.buffer.truncate(KEPT_BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
        let limit = limits.max_decompressed_bytes;
        let length = match encoding {
            Encoding::Identity if body.len() > limit => return Err(too_large(encoding, limit)),
            Encoding::Identity => return Ok(body),
            Encoding::Snappy => self.snappy(body, limit)?,
            Encoding::Gzip => self.gzip(body, limit)?,
            Encoding::Zstd => self.zstd(body, limit)?,
        };
        Ok(&self.buffer[..length])
    }

    fn snappy(&mut self, body: &[u8], limit: usize) -> Result<usize, DecompressError> {
        let invalid = |error: snap::Error| invalid(Encoding::Snappy, &error);
        let declared = snap::raw::decompress_len(body).map_err(invalid)?;
        if declared > limit {
            return Err(too_large(Encoding::Snappy, limit));
        }
        if declared > body.len() * SNAPPY_MAX_EXPANSION {
            return Err(DecompressError::Invalid {
                encoding: Encoding::Snappy.as_str(),
                reason: format!("{} bytes cannot hold the {declared} that its header declares", body.len()),
            });
        }
        if self.buffer.len() < declared {
            self.buffer.resize(declared, 0);
        }
        snap::raw::Decoder::new().decompress(body, &mut self.buffer[..declared]).map_err(invalid)
    }

    fn gzip(&mut self, body: &[u8], limit: usize) -> Result<usize, DecompressError> {
        self.buffer.clear();
        let length = MultiGzDecoder::new(body)
            .take(limit as u64 + 1)
            .read_to_end(&mut self.buffer)
            .map_err(|error| invalid(Encoding::Gzip, &error))?;
        if length > limit {
            return Err(too_large(Encoding::Gzip, limit));
        }
        Ok(length)
    }

    fn zstd(&mut self, body: &[u8], limit: usize) -> Result<usize, DecompressError> {
        // What is left of a failed frame must not be met by the next body: a decoder is kept only if all went well.
        let mut decoder = match self.zstd.take() {
            Some(decoder) => decoder,
            None => new_zstd_decoder().map_err(|error| invalid(Encoding::Zstd, &error))?,
        };
        let mut input = InBuffer::around(body);
        let mut length = 0;
        let mut frame_ended = false;
        while !(frame_ended && input.pos == body.len()) {
            if length > limit {
                return Err(too_large(Encoding::Zstd, limit));
            }
            if self.buffer.len() == length {
                let more = length.max(ZSTD_FIRST_STEP_BYTES).min(limit + 1 - length);
                self.buffer.resize(length + more, 0);
            }
            let mut output = OutBuffer::around(&mut self.buffer[length..]);
            let before = input.pos;
            let hint =
                decoder.run(&mut input, &mut output).map_err(|error| invalid(Encoding::Zstd, &error))?;
            let written = output.pos();
            length += written;
            frame_ended = hint == 0;
            if !frame_ended && written == 0 && input.pos == before {
                return Err(DecompressError::Invalid {
                    encoding: Encoding::Zstd.as_str(),
                    reason: "it is cut short".to_owned(),
                });
            }
        }
        if length > limit {
            return Err(too_large(Encoding::Zstd, limit));
        }
        self.zstd = Some(decoder);
        Ok(length)
    }
}

/// Room for zstd's output to begin with, in bytes; it doubles from there.
const ZSTD_FIRST_STEP_BYTES: usize = 64 * 1024;

fn new_zstd_decoder() -> std::io::Result<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

fn too_large(encoding: Encoding, limit: usize) -> DecompressError {
    DecompressError::DecompressedTooLarge { encoding: encoding.as_str(), limit }
}

fn invalid(encoding: Encoding, error: &dyn std::error::Error) -> DecompressError {
    DecompressError::Invalid { encoding: encoding.as_str(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
