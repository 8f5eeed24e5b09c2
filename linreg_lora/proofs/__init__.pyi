"""Proofs that sympy verifies step by step."""

from .steps import Proof, ProofResult, Step, ids, prove, register_proof

__all__ = ["Proof", "ProofResult", "Step", "ids", "prove", "register_proof"]
