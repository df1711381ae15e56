package store

// Err returns why the store takes nothing more; nil while it does.
func (s *Store) Err() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil && s.ended {
		return ErrEnded
	}
	return s.failed
}
