"""Fine-tuning methods, one file each: data in, update D out."""
