"""Where sluiced and Envoy differ on purpose: case name → (what is compared and differs, why). Anything else that differs fails; so does a
case here that does not differ any more."""

DIFFERENCES = {
}
