"""Fine-tuning and training of catalogue models, resumable at every epoch."""
