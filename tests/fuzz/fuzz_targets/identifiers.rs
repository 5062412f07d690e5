#![no_main]

backout_fuzz::family!(identifiers);
