"""Tests of the question step, over real HTTP against `fake_messages_server`."""
