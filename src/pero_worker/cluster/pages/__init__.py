"""The pages of a cluster: published, downloaded, waited for, set aside."""
