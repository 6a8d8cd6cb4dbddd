SELECT secret FROM signing_keys WHERE purpose = $1
