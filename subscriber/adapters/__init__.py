"""The world behind the ports. SDKs are imported here and nowhere else; no adapter knows another one."""
