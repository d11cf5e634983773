//! Segments that earlier versions of the software wrote are read for ever.
