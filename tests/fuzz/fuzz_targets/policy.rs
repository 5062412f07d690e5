#![no_main]

backout_fuzz::family!(policy);
