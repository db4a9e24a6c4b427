"""What runs behind the queues."""
