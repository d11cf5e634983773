//! Bounds of placement.

/// Most cells that are compared. Pairs are compared one by one, and 250,000 of them take a fraction of a second.
pub const MAX_CELLS: usize = 500;

/// Most regions that a tenant can declare of each kind: more than there are.
pub const MAX_REGIONS: usize = 500;

/// Most alternatives that a placement names.
pub(crate) const MAX_RUNNERS_UP: usize = 3;

/// Most zones that evidence names: more than a region has, unless telemetry makes them up.
pub(crate) const MAX_ZONES: usize = 16;

/// Longest text that is read as a region, in characters: the longest names of zones have about 30.
pub(crate) const MAX_REGION_TEXT_CHARS: usize = 100;

/// Most regions that an error suggests.
pub(crate) const MAX_SUGGESTIONS: usize = 3;
