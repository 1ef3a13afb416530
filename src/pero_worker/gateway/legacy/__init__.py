"""The PERO API as its servers spoke it: request states, plain JSON, and the sentences that clients look for."""
