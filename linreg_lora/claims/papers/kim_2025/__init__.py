"""Kim, Kim and Ryu 2025, arXiv 2502.09376: where training LoRA with weight decay ends."""
