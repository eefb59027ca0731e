"""Operations on a whole registry: check, clean, back up, transfer."""
